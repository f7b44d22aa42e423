/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xvioctl: the command line. A command is a method of the API (control/methods.h) with its
 * arguments as words; xviod checks them, here they are only put into JSON.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "control/methods.h"
#include "cli/doctor.h"
#include "cli/help.h"
#include "cli/live.h"
#include "cli/print.h"
#include "cli/watch.h"

#define DEFAULT_SOCKET "/run/xvio/xviod.sock"

static bool json_output;
static const char *write_to; /* trace live --write FILE */

static int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "xvioctl: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

static void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

/* How many of the words a command consists of stand at the start of argv; -1 = it is another one.
 */
static int match(const char *command, int argc, char **argv)
{
	int n = 0;

	while (*command != '\0') {
		size_t len = strcspn(command, " ");

		if (n == argc || strlen(argv[n]) != len || strncmp(command, argv[n], len) != 0)
			return -1;
		n++;
		command += len + (command[len] == ' ');
	}
	return n;
}

static int unknown_command(int argc, char **argv)
{
	struct xv_nearest nearest;
	char typed[64];

	/* An object without a verb: say which there are. */
	if (argc == 1 && help_print(stderr, argv[0]) == 0)
		return EXIT_FAILURE;
	snprintf(typed, sizeof(typed), "%.30s%s%.30s", argv[0], argc > 1 ? " " : "",
		 argc > 1 ? argv[1] : "");
	xv_nearest_init(&nearest, typed);
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++)
		xv_nearest_feed(&nearest, xv_methods[i].command);
	for (const struct local_command *c = local_commands; c->name != NULL; c++)
		xv_nearest_feed(&nearest, c->name);
	if (nearest.best != NULL)
		return fail("there is no command \"%s\"; did you mean \"%s\"?", typed,
			    nearest.best);
	return fail("there is no command \"%s\"; `xvioctl help` lists them", typed);
}

/* The whole of a file ("-" = standard input) as a JSON string, NULL with errno set. */
static json_t *read_text(const char *path)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *buf = malloc(XV_TEXT_MAX + 1);
	json_t *text = NULL;
	size_t len;

	if (f != NULL && buf != NULL) {
		errno = 0;
		len = fread(buf, 1, XV_TEXT_MAX + 1, f);
		if (len > XV_TEXT_MAX)
			errno = EFBIG;
		else if (!ferror(f) && (text = json_stringn(buf, len)) == NULL)
			errno = EILSEQ;
	}
	free(buf);
	if (f != NULL && f != stdin)
		fclose(f);
	return text;
}

static int apply_arguments(int argc, char **argv, json_t *params)
{
	const char *file = NULL;
	json_t *text;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--dry-run") == 0)
			json_object_set_new(params, "dry_run", json_true());
		else if (file == NULL && (argv[i][0] != '-' || argv[i][1] == '\0'))
			file = argv[i];
		else
			return fail("apply: unexpected argument \"%s\"", argv[i]);
	}
	if (file == NULL)
		return fail("apply: which host file?");
	text = read_text(file);
	if (text == NULL)
		return fail("%s: %s", file, strerror(errno));
	json_object_set_new(params, "text", text);
	json_object_set_new(params, "file", json_string(strcmp(file, "-") == 0 ? "stdin" : file));
	return EXIT_SUCCESS;
}

static int arguments(const struct xv_method *method, int argc, char **argv, json_t *params)
{
	bool named = method->object != NULL && !xv_schema_object(method->object)->single &&
		     method->args != XV_ARGS_NONE;
	int i = 0;

	if (method->args == XV_ARGS_APPLY)
		return apply_arguments(argc, argv, params);
	if (named) {
		if (argc == 0 || strchr(argv[0], '=') != NULL)
			return fail("%s: which %s?", method->command, method->object);
		json_object_set_new(params, "name", json_string(argv[i++]));
	}
	if (method->args == XV_ARGS_RULE || method->args == XV_ARGS_RULE_EDIT) {
		if (argc == 0 || strchr(argv[0], '=') != NULL)
			return fail("%s: which rule? GROUP/RULE", method->command);
		json_object_set_new(params, "rule", json_string(argv[i++]));
	}
	if (method->args == XV_ARGS_FLOW && argc > 0 && strchr(argv[0], '=') == NULL)
		json_object_set_new(params, "id", json_string(argv[i++]));
	for (; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		json_t *value;

		if (method->args == XV_ARGS_LIVE && strcmp(argv[i], "--write") == 0) {
			if (++i == argc)
				return fail("%s: --write: which file?", method->command);
			write_to = argv[i];
			continue;
		}
		if (method->args == XV_ARGS_NAME || method->args == XV_ARGS_NONE || method->args == XV_ARGS_RULE)
			return fail("%s: unexpected argument \"%s\"", method->command, argv[i]);
		if (equals == NULL || equals == argv[i])
			return fail("%s: \"%s\" is not KEY=VALUE", method->command, argv[i]);
		*equals = '\0';
		if (json_object_get(params, argv[i]) != NULL)
			return fail("%s: %s is given twice", method->command, argv[i]);
		value = equals[1] ? json_string(equals + 1) : json_null();
		if (json_object_set_new(params, argv[i], value) < 0)
			return fail("%s: \"%s\" is not UTF-8", method->command, argv[i]);
	}
	return EXIT_SUCCESS;
}

static void print_changes(const json_t *result)
{
	const json_t *changes = json_object_get(result, "changes");
	json_t *line;
	size_t i;

	json_array_foreach (changes, i, line)
		printf("%s\n", json_string_value(line));
	if (json_array_size(changes) == 0)
		printf("nothing to change\n");
}

/* The type of list that a method answers with: "mac.list" -> "mac". */
static void print_list(const struct xv_method *method, const json_t *result)
{
	char type[16];

	snprintf(type, sizeof(type), "%.*s", (int)strcspn(method->name, "."), method->name);
	print_table(type, result);
}

static int print_result(struct client *client, const struct xv_method *method, json_t *result)
{
	char error[1024];
	json_t *ports;

	if (json_output) {
		print_json(result);
	} else if (method == &xv_methods[XV_METHOD_flow_list]) {
		print_flows(result);
	} else if (method == &xv_methods[XV_METHOD_ct_list]) {
		print_connections(result);
	} else if (method == &xv_methods[XV_METHOD_trace]) {
		print_trace(result);
	} else if (method == &xv_methods[XV_METHOD_policy_test]) {
		print_test(result);
	} else if (json_is_array(result)) {
		print_list(method, result);
	} else if (method == &xv_methods[XV_METHOD_host_show]) {
		if (client_call(client, "port.list", json_object(), &ports, error, sizeof(error)) <
		    0)
			return fail("%s", error);
		print_host(result, ports);
		json_decref(ports);
	} else if (method == &xv_methods[XV_METHOD_host_apply]) {
		print_changes(result);
	} else if (!method->write || json_object_get(result, "changes") == NULL) {
		print_object(result);
	} /* else: it is done; silence says so */
	return EXIT_SUCCESS;
}

static int run(struct client *client, const struct xv_method *method, int argc, char **argv)
{
	json_t *params = json_object(), *result;
	char error[1024];
	int rc;

	rc = arguments(method, argc, argv, params);
	if (rc != EXIT_SUCCESS) {
		json_decref(params);
		return rc;
	}
	if (method == &xv_methods[XV_METHOD_drop_watch])
		return watch_drops(client, params, json_output, error, sizeof(error)) < 0 ? fail("%s", error)
											   : EXIT_SUCCESS;
	if (method == &xv_methods[XV_METHOD_trace_live])
		return follow_packets(client, params, write_to, json_output, error, sizeof(error)) < 0
			       ? fail("%s", error)
			       : EXIT_SUCCESS;
	if (client_call(client, method->name, params, &result, error, sizeof(error)) < 0)
		return fail("%s", error);
	if (method == &xv_methods[XV_METHOD_version])
		json_object_set_new(result, "xvioctl", json_string(XVIO_VERSION));
	rc = print_result(client, method, result);
	json_decref(result);
	return rc;
}

static int dispatch(struct client *client, int argc, char **argv)
{
	const struct xv_method *method = NULL;
	int words = 0;

	if (strcmp(argv[0], "help") == 0)
		return help_print(stdout, argc > 1 ? argv[1] : NULL) == 0
			       ? EXIT_SUCCESS
			       : fail("there is no help on \"%s\"; `xvioctl help` lists the "
				      "commands",
				      argv[1]);
	if (argc > 1 &&
	    (strcmp(argv[argc - 1], "--help") == 0 || strcmp(argv[argc - 1], "-h") == 0) &&
	    help_print(stdout, argv[0]) == 0)
		return EXIT_SUCCESS;
	if (strcmp(argv[0], "complete") == 0 && argc == 2) { /* what bash asks; not for people */
		help_complete(client, argv[1]);
		return EXIT_SUCCESS;
	}
	if (strcmp(argv[0], "doctor") == 0 && argc == 1) {
		json_t *findings = doctor_findings(client);

		if (json_output)
			print_json(findings);
		else
			doctor_print(findings);
		json_decref(findings);
		return EXIT_SUCCESS;
	}
	/* "trace live" is a command, and so is "trace". */
	for (unsigned int i = 0; i < XV_METHOD_MAX; i++) {
		int n = match(xv_methods[i].command, argc, argv);

		if (n > words) {
			words = n;
			method = &xv_methods[i];
		}
	}
	return method != NULL ? run(client, method, argc - words, argv + words) : unknown_command(argc, argv);
}

int main(int argc, char **argv)
{
	struct client client = {.path = getenv("XVIO_SOCKET"), .fd = -1};
	int i, rc;

	if (client.path == NULL || client.path[0] == '\0')
		client.path = DEFAULT_SOCKET;
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			json_output = true;
		} else if (strcmp(argv[i], "-s") == 0 || strcmp(argv[i], "--socket") == 0) {
			if (++i == argc)
				return fail("-s: which socket?");
			client.path = argv[i];
		} else if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
			help_print(stdout, NULL);
			return EXIT_SUCCESS;
		} else if (strcmp(argv[i], "-V") == 0 || strcmp(argv[i], "--version") == 0) {
			printf("xvioctl %s\n", XVIO_VERSION);
			return EXIT_SUCCESS;
		} else {
			return fail("unknown option %s; `xvioctl help` lists them", argv[i]);
		}
	}
	if (i == argc) {
		help_print(stderr, NULL);
		return EXIT_FAILURE;
	}
	rc = dispatch(&client, argc - i, argv + i);
	client_close(&client);
	if (fflush(stdout) != 0 || ferror(stdout))
		return fail("cannot write: %s", strerror(errno));
	return rc;
}
