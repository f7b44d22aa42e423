/* SPDX-License-Identifier: Apache-2.0 */
#include "control/live_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "control/packet_text.h"
#include "fastpath/action.h"
#include "fastpath/flow.h"
#include "net/drop.h"
#include "net/flow_format.h"

#define TEXT_MAX 12288

/* One record on its way to JSON. */
struct report {
	struct xv_host *host;
	json_t *stages;
	uint64_t ns; /* of the step, since the record began */
	char text[TEXT_MAX];
};

static uint64_t ns_of(uint64_t cycles)
{
	return (uint64_t)((double)cycles * 1e9 / (double)xv_clock.hz);
}

static json_t *say(struct report *r, const char *stage, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static json_t *say(struct report *r, const char *stage, const char *fmt, ...)
{
	json_t *object;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	object = json_pack("{s:s, s:s, s:I}", "stage", stage, "text", r->text, "ns", (json_int_t)r->ns);
	json_array_append_new(r->stages, object);
	return object;
}

static const char *port_name(const struct report *r, uint32_t port)
{
	const char *name = xv_packet_text_port(port, r->host);

	return name != NULL ? name : "a port that is gone";
}

/* n flows by their numbers: where a fused flow stands for several, each is a stage. */
static void say_flows(struct report *r, const char *stage, const uint64_t *ids, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct xv_flow *flow = xv_flow_by_id(ids[i]);
		char text[XV_PACKET_TEXT_FLOW];
		json_t *object;

		if (flow != NULL)
			object = say(r, stage, "%s", xv_packet_text_flow(r->host, flow, text, sizeof(text)));
		else
			object = say(r, stage, "id:%llu, which is gone since", (unsigned long long)ids[i]);
		json_object_set_new(object, "flow", json_integer((json_int_t)ids[i]));
	}
}

static void say_drop(struct report *r, uint32_t reason)
{
	if (reason < XV_DROP_MAX)
		json_object_set_new(
			say(r, "drop", "%s (%s)", xv_drop_info[reason].name, xv_drop_info[reason].explanation), "reason",
			json_string(xv_drop_info[reason].name));
}

/* Where the packet is put: stage "output", "sent" or "waits". */
static void say_queue(struct report *r, const char *stage, const struct xv_live_step *step, const char *more)
{
	json_t *object = say(r, stage, "%s queue %u%s", port_name(r, step->port), step->arg, more);

	json_object_set_new(object, "port", json_string(port_name(r, step->port)));
	json_object_set_new(object, "queue", json_integer((json_int_t)step->arg));
}

static void say_changed(struct report *r, const struct xv_live_step *step, uint16_t in_port)
{
	char text[XV_FLOW_TEXT_SIZE];

	xv_packet_text(r->host, in_port, (const uint8_t *)(step + 1), step->n, step->arg, text, sizeof(text));
	say(r, "packet is now", "%s, %u bytes", text, step->arg);
}

static void say_step(struct report *r, const struct xv_live_record *record, const struct xv_live_step *step)
{
	const void *data = step + 1;
	char vlan[24] = "";

	if (step->arg != 0)
		snprintf(vlan, sizeof(vlan), ", VLAN %u", step->arg);
	switch ((enum xv_live_stage)step->stage) {
	case XV_LIVE_RECEIVED:
		say(r, "tunnel", "%s: outer headers are off", port_name(r, step->port));
		break;
	case XV_LIVE_WIRE:
		say(r, "wire", "to %s", port_name(r, step->port));
		break;
	case XV_LIVE_MAC:
		say(r, "MAC table", "the address is known%s: port %s", vlan, port_name(r, step->port));
		break;
	case XV_LIVE_FLOOD:
		say(r, "MAC table",
		    "a group address, or one that is not known%s: to all of the network that may have it", vlan);
		break;
	case XV_LIVE_FUSED:
		say_flows(r, "fused flow", data, step->n / 8u);
		break;
	case XV_LIVE_LONG_WAY:
		say(r, "long way", "no fused flow yet: flows are looked up");
		break;
	case XV_LIVE_FLOW:
		say_flows(r, "flow", data, step->n / 8u);
		break;
	case XV_LIVE_DECIDED:
		say(r, "configuration", "%s%.*s%s; there is no flow yet: one is asked for",
		    step->n > 1 ? "policy " : "no policy", (int)step->n, (const char *)data,
		    step->n <= 1 ? "" : step->arg == XV_ACT_DROP ? ": deny" : ": allow");
		break;
	case XV_LIVE_COPY:
		say(r, "copy", "what follows is done with a copy");
		break;
	case XV_LIVE_CHANGED:
		say_changed(r, step, record->port);
		break;
	case XV_LIVE_ENCAP:
		say(r, "tunnel", "%u bytes of outer headers are put on", step->arg);
		break;
	case XV_LIVE_NEXT_HOP:
		say(r, "tunnel", "%s: waits until the next hop is known", port_name(r, step->port));
		break;
	case XV_LIVE_PUNT:
		say(r, "control", "handed to the control thread: ARP, neighbour discovery or ICMP for the VTEP");
		break;
	case XV_LIVE_SEGMENTS:
		say(r, "segmentation", "cut into %u, because the output does not do it", step->arg);
		break;
	case XV_LIVE_OUTPUT:
		say_queue(r, "output", step, "");
		break;
	case XV_LIVE_SENT:
		say_queue(r, "sent", step, "");
		break;
	case XV_LIVE_WAITS:
		say_queue(r, "waits", step, ": it has no room yet");
		break;
	case XV_LIVE_DROP:
		say_drop(r, step->arg);
		break;
	case XV_LIVE_MAX:
		break;
	}
}

static json_int_t wall_us(uint64_t cycles)
{
	uint64_t now = xv_clock_cycles(), ago = now > cycles ? now - cycles : 0;
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall);
	return (json_int_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000 - (json_int_t)(ns_of(ago) / 1000);
}

static char *hex_of(const uint8_t *bytes, unsigned int n)
{
	static const char digits[] = "0123456789abcdef";
	char *hex = malloc(2 * (size_t)n + 1);

	if (hex == NULL)
		return NULL;
	for (unsigned int i = 0; i < n; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 0xf];
	}
	hex[2 * (size_t)n] = '\0';
	return hex;
}

json_t *xv_live_text(struct xv_host *host, const struct xv_live_record *record, uint32_t base)
{
	const struct xv_live_step *step = (const struct xv_live_step *)(const void *)record->steps;
	const uint8_t *end = (const uint8_t *)record->steps + record->steps_bytes;
	struct report *r = calloc(1, sizeof(*r));
	char packet[XV_FLOW_TEXT_SIZE], *hex;
	json_t *object;

	if (r == NULL)
		return NULL;
	r->host = host;
	r->stages = json_array();
	for (; (const uint8_t *)step < end; step = xv_live_step_next(step)) {
		r->ns = ns_of(step->cycles);
		say_step(r, record, step);
	}
	if (record->steps_missed > 0)
		say(r, "more", "%u stages that are not shown", record->steps_missed);
	object = json_pack("{s:I, s:I, s:b, s:o}", "number", (json_int_t)(uint32_t)(record->number - base), "time_us",
			   wall_us(record->cycles), "later", (int)record->late, "stages", r->stages);
	if (!record->late) {
		hex = hex_of(record->bytes, record->n);
		xv_packet_text(host, record->port, record->bytes, record->n, record->packet_bytes, packet, sizeof(packet));
		json_object_set_new(object, "port", json_string(port_name(r, record->port)));
		json_object_set_new(object, "queue", json_integer(record->queue));
		json_object_set_new(object, "bytes", json_integer(record->packet_bytes));
		json_object_set_new(object, "packet", json_string(packet));
		json_object_set_new(object, "hex", json_string(hex));
		free(hex);
	}
	free(r);
	return object;
}
