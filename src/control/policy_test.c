/* SPDX-License-Identifier: Apache-2.0 */
#include "control/policy_test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/model.h"
#include "control/trace.h"
#include "control/trace_packet.h"

#define SOMEBODYS_MAC "02:00:00:00:fe:ed" /* who is elsewhere */
#define RECEIVERS_MAC "02:00:00:00:fe:ee" /* who does not say which it has */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void fill(json_t *args, const char *key, const char *value)
{
	if (value != NULL && json_object_get(args, key) == NULL)
		json_object_set_new(args, key, json_string(value));
}

/* The port's first address of the other end's IP version, if that is said; else the first. */
static const char *address_of(const json_t *port, const char *other)
{
	json_t *address;
	size_t i;

	json_array_foreach (json_object_get(port, "addresses"), i, address) {
		const char *text = json_string_value(address);

		if (other == NULL || (strchr(other, ':') != NULL) == (strchr(text, ':') != NULL))
			return text;
	}
	return NULL;
}

/* What is not said of the packet, if ports say it. */
static void complete(json_t *args, const json_t *from, const json_t *to)
{
	if (json_object_get(args, "packet") != NULL)
		return;
	fill(args, "src_mac", from != NULL ? text_of(from, "mac") : SOMEBODYS_MAC);
	if (to != NULL)
		fill(args, "dst_mac", text_of(to, "mac") != NULL ? text_of(to, "mac") : RECEIVERS_MAC);
	if (json_object_get(args, "ether_type") != NULL)
		return;
	fill(args, "src", address_of(from, text_of(args, "dst")));
	fill(args, "dst", address_of(to, text_of(args, "src")));
}

static enum xv_trace_state state_of(const char *word)
{
	return strcmp(word, "new") == 0		  ? XV_TRACE_NEW
	       : strcmp(word, "established") == 0 ? XV_TRACE_ESTABLISHED
	       : strcmp(word, "reply") == 0	  ? XV_TRACE_REPLY
						  : XV_TRACE_ACTUAL;
}

static bool any_rejects(const json_t *rules)
{
	json_t *rule;
	size_t i;

	json_array_foreach (rules, i, rule) {
		if (strcmp(text_of(rule, "action"), "reject") == 0)
			return true;
	}
	return false;
}

static json_t *answer_of(const json_t *trace, const char *state)
{
	json_t *rules = json_object_get(trace, "rules"), *outputs = json_object_get(trace, "outputs");
	json_t *drop = json_array_get(json_object_get(trace, "drops"), 0);
	const char *result = "denied";
	json_t *answer;

	if (json_array_size(outputs) > 0)
		result = "allowed";
	else if (!json_is_true(json_object_get(trace, "complete")))
		result = "not known";
	else if (any_rejects(rules))
		result = "rejected";
	answer = json_pack("{s:O, s:s, s:O, s:s, s:O}", "packet", json_object_get(trace, "packet"), "state", state, "rules", rules,
			   "result", result, "outputs", outputs);
	if (json_array_size(outputs) == 0 && drop != NULL) {
		json_object_set(answer, "reason", json_object_get(drop, "reason"));
		json_object_set(answer, "explanation", json_object_get(drop, "explanation"));
	}
	return answer;
}

static int check_ports(const struct xv_host *host, const char *from, const char *to, struct xv_err *err)
{
	const char *network, *other;

	if (from == NULL && to == NULL) {
		xv_err_key(err, "port");
		return xv_err_set(err, -EINVAL, XV_ERR_MISSING_KEY, "is missing: which port sends the packet, or (to) receives it?");
	}
	network = text_of(xv_model_get(host->model, "port", from != NULL ? from : to), "network");
	if (network == NULL) {
		xv_err_key(err, from != NULL ? "port" : "to");
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "%s is on no network: nothing is asked about its packets",
				  from != NULL ? from : to);
	}
	if (from == NULL || to == NULL)
		return 0;
	other = text_of(xv_model_get(host->model, "port", to), "network");
	if (strcmp(from, to) != 0 && other != NULL && strcmp(network, other) == 0)
		return 0;
	xv_err_key(err, "to");
	return strcmp(from, to) == 0
		       ? xv_err_set(err, -EINVAL, XV_ERR_RANGE, "is the port that sends")
		       : xv_err_set(err, -EINVAL, XV_ERR_RANGE, "%s is not on network %s, as %s is", to, network, from);
}

int xv_policy_test(struct xv_host *host, const json_t *given, json_t **result, struct xv_err *err)
{
	const char *from_name = text_of(given, "port"), *to_name = text_of(given, "to"), *state = text_of(given, "state");
	struct xv_host_port *from, *to;
	struct xv_trace_question question;
	uint8_t *frame;
	json_t *args, *trace;
	uint32_t len;
	int rc;

	rc = check_ports(host, from_name, to_name, err);
	if (rc < 0)
		return rc;
	from = from_name != NULL ? xv_host_port_lookup(host, from_name) : NULL;
	to = to_name != NULL ? xv_host_port_lookup(host, to_name) : NULL;
	args = json_copy((json_t *)(uintptr_t)given);
	complete(args, from_name != NULL ? xv_model_get(host->model, "port", from_name) : NULL,
		 to_name != NULL ? xv_model_get(host->model, "port", to_name) : NULL);
	rc = xv_trace_packet(from != NULL ? from : to, args, &frame, &len, err);
	json_decref(args);
	if (rc < 0)
		return rc;
	question = (struct xv_trace_question){.in = from != NULL ? from->port : NULL,
					      .to = to != NULL ? to->port : NULL,
					      .state = state_of(state),
					      .rules_only = true};
	trace = xv_trace_ask(host, &question, frame, len);
	free(frame);
	*result = answer_of(trace, state);
	json_decref(trace);
	return 0;
}
