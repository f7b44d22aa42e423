/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the gateway of a network decides: which address is whose, where a balanced connection goes,
 * what a router does with a packet and its translation; and the packets that a host cannot do
 * without.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "fastpath/conntrack.h"
#include "fastpath/gateway.h"
#include "fastpath/resolve.h"
#include "net/host_packet.h"

#define IP4(a, b, c, d) ((union xv_ip_addr){.bytes = {[12] = a, b, c, d}})
#define PORT            7 /* of the gateway's network */
#define OUTSIDE         8
#define ZONE            3
#define ROUTER_ZONE     9

static const uint8_t mac_d[6] = {2, 0, 0, 0, 0, 0xd}, mac_x[6] = {2, 0, 0, 0, 0, 0x88},
		     mac_out[6] = {2, 0, 0, 0, 1, 1};
static _Atomic uint64_t opened[3];
static struct xv_backend backends[3];
static struct xv_load_balancer web;
static const struct xv_load_balancer *balancers[] = {&web};
static struct xv_gateway_address addresses[] = {
	{.addr = IP4(10, 0, 0, 100), .use = XV_GATEWAY_VIRTUAL},
	{.addr = IP4(10, 0, 0, 253), .use = XV_GATEWAY_SOURCE},
	{.addr = IP4(10, 0, 0, 254), .use = XV_GATEWAY_ROUTER},
};
static struct xv_router_interface interfaces[] = {
	{.addr = IP4(10, 0, 0, 254), .len = 24, .port_id = PORT},
	{.addr = IP4(192, 0, 2, 254), .len = 24, .port_id = OUTSIDE},
};
static struct xv_router_nat nats[] = {
	{.external = IP4(192, 0, 2, 254),
	 .internal = IP4(10, 0, 0, 0),
	 .len = 24,
	 .port_id = OUTSIDE},
	{.external = IP4(192, 0, 2, 50),
	 .internal = IP4(10, 0, 0, 5),
	 .len = 32,
	 .floating = true,
	 .port_id = OUTSIDE},
};
static struct xv_router router = {.name = "r0",
				  .zone = ROUTER_ZONE,
				  .n_interfaces = 2,
				  .interfaces = interfaces,
				  .nats = nats};
static struct xv_gateway gateway = {.n_addresses = 3,
				    .addresses = addresses,
				    .n_balancers = 1,
				    .balancers = balancers,
				    .router = &router};

/* weights of three backends, 10.0.0.11 and so on. */
static void set_weights(unsigned int a, unsigned int b, unsigned int c)
{
	struct xv_maglev_backend maglev[3] = {{.weight = a}, {.weight = b}, {.weight = c}};
	unsigned int i;

	for (i = 0; i < 3; i++) {
		backends[i] = (struct xv_backend){.addr = IP4(10, 0, 0, (uint8_t)(11 + i)),
						  .port = RTE_BE16(8080),
						  .reachable = true,
						  .opened = &opened[i]};
		backends[i].mac[5] = (uint8_t)(11 + i);
		maglev[i].name = xv_maglev_name(&backends[i].addr, 16);
	}
	web = (struct xv_load_balancer){.name = "web",
					.addr = IP4(10, 0, 0, 100),
					.port = RTE_BE16(80),
					.proto = 6,
					.n = 3,
					.backends = backends};
	xv_maglev_fill(web.table, maglev, 3);
}

static struct xv_flow_key tcp(union xv_ip_addr src, union xv_ip_addr dst, uint16_t src_port,
			      uint16_t dst_port, uint32_t state)
{
	return (struct xv_flow_key){
		.eth_type = RTE_BE16(0x0800),
		.ip_proto = 6,
		.ip_ttl = 64,
		.ip_src = src,
		.ip_dst = dst,
		.tp_src = rte_cpu_to_be_16(src_port),
		.tp_dst = rte_cpu_to_be_16(dst_port),
		.ct_state = state | XV_CS_TRACKED,
	};
}

static struct xv_decision receive(const struct xv_flow_key *key)
{
	struct xv_decision d = {.patch = XV_MAX_PORTS};
	struct xv_flow_key mask = {0};

	xv_gateway_receive(&gateway, PORT, ZONE, key, &mask, &d);
	assert_int_equal(mask.eth_type, 0xffff);
	return d;
}

static struct xv_decision route(struct xv_flow_key key, uint32_t recirc_id)
{
	struct xv_decision d = {.patch = XV_MAX_PORTS};
	struct xv_flow_key mask = {0};

	key.recirc_id = recirc_id;
	xv_router_decide(&router, PORT, &key, &mask, &d);
	return d;
}

/* ---- Load balancers ---- */

static void new_connections_are_shared(void **state)
{
	unsigned int count[3] = {0}, i;

	(void)state;
	set_weights(1, 1, 2);
	for (i = 0; i < 4000; i++) {
		struct xv_flow_key key = tcp(IP4(10, 0, 0, 1), IP4(10, 0, 0, 100),
					     (uint16_t)(1024 + i), 80, XV_CS_NEW);
		struct xv_decision d = receive(&key), again = receive(&key);
		unsigned int b = d.cts[0].nat.min.bytes[15] - 11u;

		assert_int_equal(d.type, XV_ACT_RECIRC);
		assert_int_equal(d.arg, XV_RECIRC_BALANCED);
		assert_true(d.once);
		assert_int_equal(d.n_cts, 1);
		assert_int_equal(d.cts[0].zone, ZONE);
		assert_int_equal(d.cts[0].flags, XV_CT_COMMIT | XV_CT_NAT);
		assert_int_equal(d.cts[0].nat.flags, XV_NAT_DST);
		assert_int_equal(d.cts[0].nat.min_port, 8080);
		assert_true(b < 3);
		assert_ptr_equal(d.counter, &opened[b]);
		assert_memory_equal(&d.cts[0].nat, &again.cts[0].nat, sizeof(d.cts[0].nat));
		count[b]++;
	}
	assert_in_range(count[0], 850, 1150);
	assert_in_range(count[1], 850, 1150);
	assert_in_range(count[2], 1800, 2200);
}

static void known_connections_stay(void **state)
{
	struct xv_flow_key key = tcp(IP4(10, 0, 0, 1), IP4(10, 0, 0, 100), 1024, 80,
				     XV_CS_ESTABLISHED),
			   mask = {0};
	struct xv_decision d;

	(void)state;
	set_weights(1, 0, 0); /* the others drain */
	d = receive(&key);
	assert_int_equal(d.arg, XV_RECIRC_BALANCED);
	assert_int_equal(d.cts[0].flags, XV_CT_NAT);
	assert_false(d.once);
	/* Translated to one that drains: it is found all the same. */
	key.ip_dst = IP4(10, 0, 0, 12);
	d = (struct xv_decision){.patch = XV_MAX_PORTS};
	xv_gateway_balanced(&gateway, &key, &mask, &d);
	assert_int_equal(d.type, XV_ACT_FORWARD);
	assert_true(d.set_dst && !d.set_src);
	assert_int_equal(d.eth_dst[5], 12);
	/* And one that is gone is not. */
	key.ip_dst = IP4(10, 0, 0, 99);
	d = (struct xv_decision){.patch = XV_MAX_PORTS};
	xv_gateway_balanced(&gateway, &key, &mask, &d);
	assert_int_equal(d.type, XV_ACT_DROP);
	assert_int_equal(d.arg, XV_DROP_NO_BACKEND);
}

static void direct_server_return(void **state)
{
	struct xv_flow_key key = tcp(IP4(10, 0, 0, 1), IP4(10, 0, 0, 100), 1024, 80, XV_CS_NEW),
			   mask = {0};
	struct xv_decision d;

	(void)state;
	set_weights(0, 1, 0);
	web.direct = true;
	d = receive(&key);
	assert_int_equal(d.cts[0].flags, XV_CT_COMMIT);
	assert_int_equal(d.cts[0].nat.flags, 0);
	memcpy(key.ct_label, d.cts[0].label, sizeof(key.ct_label));
	/* Nobody has answered yet, and it drains by now: it stays. */
	set_weights(1, 0, 1);
	web.direct = true;
	d = receive(&key);
	assert_int_equal(d.n_cts, 0);
	d = (struct xv_decision){.patch = XV_MAX_PORTS};
	xv_gateway_balanced(&gateway, &key, &mask, &d);
	assert_int_equal(d.type, XV_ACT_FORWARD);
	assert_int_equal(d.eth_dst[5], 12);
	/* What it answers is nothing of ours; a connection whose backend is gone is told so. */
	key.ct_label[0]++;
	key.ct_label[0] += 100;
	d = (struct xv_decision){.patch = XV_MAX_PORTS};
	xv_gateway_balanced(&gateway, &key, &mask, &d);
	assert_true(d.type == XV_ACT_DROP && d.reject);
}

static void nobody_is_left(void **state)
{
	struct xv_flow_key key = tcp(IP4(10, 0, 0, 1), IP4(10, 0, 0, 100), 1024, 80, XV_CS_NEW);
	struct xv_decision d;

	(void)state;
	set_weights(0, 0, 0);
	d = receive(&key);
	assert_true(d.type == XV_ACT_DROP && d.arg == XV_DROP_NO_BACKEND && d.reject);
	/* Only the client itself is. */
	set_weights(1, 0, 0);
	key.ip_src = IP4(10, 0, 0, 11);
	d = receive(&key);
	assert_true(d.type == XV_ACT_DROP && d.arg == XV_DROP_NO_BACKEND);
}

static void other_packets_to_our_addresses(void **state)
{
	struct xv_flow_key arp = {.eth_type = RTE_BE16(0x0806)}, key;
	struct xv_decision d;

	(void)state;
	set_weights(1, 1, 1);
	d = receive(&arp);
	assert_true(d.type == XV_ACT_OUTPUT && d.arg == PORT);
	key = tcp(IP4(10, 0, 0, 1), IP4(10, 0, 0, 100), 1024, 81, XV_CS_NEW);
	d = receive(&key);
	assert_true(d.type == XV_ACT_DROP && d.arg == XV_DROP_NO_SERVICE && d.reject);
	key = tcp(IP4(10, 0, 0, 11), IP4(10, 0, 0, 253), 80, 40000,
		  XV_CS_ESTABLISHED | XV_CS_REPLY);
	d = receive(&key); /* the answer to a health check */
	assert_true(d.type == XV_ACT_OUTPUT && d.arg == PORT);
	key = tcp(IP4(10, 0, 0, 11), IP4(10, 0, 0, 254), 80, 40000, XV_CS_NEW);
	assert_int_equal(receive(&key).type, XV_ACT_DROP);
	key.ip_proto = 1; /* a ping: stored, so that the answer belongs to it */
	d = receive(&key);
	assert_true(d.type == XV_ACT_OUTPUT && d.n_cts == 1 && d.cts[0].zone == ZONE && d.cts[0].flags == XV_CT_COMMIT);
	/* An error about a translated connection. */
	key = tcp(IP4(10, 0, 0, 1), IP4(10, 0, 0, 100), 3, 3, XV_CS_RELATED);
	key.ip_proto = 1;
	d = receive(&key);
	assert_true(d.type == XV_ACT_RECIRC && d.arg == XV_RECIRC_BALANCED &&
		    d.cts[0].flags == XV_CT_NAT);
}

/* ---- Routers ---- */

static void routing(void **state)
{
	struct xv_flow_key key =
		tcp(IP4(10, 0, 0, 5), IP4(192, 0, 2, 1), 1024, 80, XV_CS_ESTABLISHED);
	struct xv_decision d;

	(void)state;
	router.n_nats = 0;
	d = receive(&key);
	assert_true(d.type == XV_ACT_RECIRC && d.arg == XV_RECIRC_ROUTER && d.patch == PORT &&
		    d.n_cts == 0);
	d = route(key, XV_RECIRC_ROUTER);
	assert_true(d.type == XV_ACT_RECIRC && d.arg == 0 && d.patch == OUTSIDE && d.ttl == 63);
	assert_memory_equal(d.eth_dst, mac_x, 6);
	assert_memory_equal(d.eth_src, mac_out, 6);
	assert_int_equal(d.cts[0].flags, XV_CT_CLEAR);
	/* A neighbour that is not known, no route, a TTL that ends: for the control thread, each
	 * time. */
	key.ip_dst = IP4(192, 0, 2, 2);
	d = route(key, XV_RECIRC_ROUTER);
	assert_true(d.type == XV_ACT_OUTPUT && d.arg == PORT && d.once);
	key.ip_dst = IP4(203, 0, 113, 1);
	assert_int_equal(route(key, XV_RECIRC_ROUTER).type, XV_ACT_OUTPUT);
	key.ip_dst = IP4(192, 0, 2, 1);
	key.ip_ttl = 1;
	d = receive(&key);
	assert_true(d.type == XV_ACT_OUTPUT && d.once);
	/* Never: multicast, broadcast, link-local. */
	key.ip_ttl = 64;
	key.ip_dst = IP4(224, 0, 0, 1);
	assert_int_equal(route(key, XV_RECIRC_ROUTER).arg, XV_DROP_NO_ROUTE);
	key.ip_dst = IP4(255, 255, 255, 255);
	assert_int_equal(route(key, XV_RECIRC_ROUTER).arg, XV_DROP_NO_ROUTE);
	key.ip_dst = IP4(169, 254, 1, 1);
	assert_int_equal(route(key, XV_RECIRC_ROUTER).arg, XV_DROP_NO_ROUTE);
	/* By the default gateway. */
	router.has_gateway[0] = true;
	router.gateway[0] = IP4(192, 0, 2, 1);
	key.ip_dst = IP4(203, 0, 113, 1);
	d = route(key, XV_RECIRC_ROUTER);
	assert_int_equal(d.patch, OUTSIDE);
	assert_memory_equal(d.eth_dst, mac_x, 6);
	router.has_gateway[0] = false;
	/* A network without a router. */
	gateway.router = NULL;
	assert_int_equal(receive(&key).arg, XV_DROP_NO_ROUTE);
	gateway.router = &router;
}

static void translation(void **state)
{
	struct xv_flow_key key = tcp(IP4(10, 0, 0, 7), IP4(192, 0, 2, 1), 1024, 80, XV_CS_NEW);
	struct xv_decision d;

	(void)state;
	router.n_nats = 2;
	d = receive(&key); /* stored in the network's zone, looked up in the router's */
	assert_int_equal(d.n_cts, 2);
	assert_true(d.cts[0].zone == ZONE && d.cts[0].flags == XV_CT_COMMIT);
	assert_true(d.cts[1].zone == ROUTER_ZONE && d.cts[1].flags == XV_CT_NAT);
	d = route(key, XV_RECIRC_ROUTER);
	assert_true(d.type == XV_ACT_RECIRC && d.arg == XV_RECIRC_ROUTED &&
		    d.cts[0].flags == (XV_CT_COMMIT | XV_CT_NAT));
	assert_true(d.cts[0].nat.flags == XV_NAT_SRC && d.cts[0].nat.min.bytes[15] == 254 &&
		    d.cts[0].helper == 0);
	key.tp_dst = RTE_BE16(21);
	assert_int_equal(route(key, XV_RECIRC_ROUTER).cts[0].helper, XV_CT_HELPER_FTP);
	key.ip_src = IP4(10, 0, 0, 5); /* it has an address of its own outside */
	d = route(key, XV_RECIRC_ROUTER);
	assert_true(d.cts[0].nat.flags == XV_NAT_SRC && d.cts[0].nat.min.bytes[15] == 50);
	key.ip_src = IP4(192, 0, 2, 1);
	key.ip_dst = IP4(192, 0, 2, 50);
	d = route(key, XV_RECIRC_ROUTER);
	assert_true(d.cts[0].nat.flags == XV_NAT_DST && d.cts[0].nat.min.bytes[15] == 5);
	key.ip_dst = IP4(10, 0, 0, 7); /* not translated, but stored: so that it is known */
	d = route(key, XV_RECIRC_ROUTER);
	assert_true(d.cts[0].nat.flags == 0 && (d.cts[0].flags & XV_CT_COMMIT) != 0);
	/* Then it is routed. */
	key = tcp(IP4(192, 0, 2, 254), IP4(192, 0, 2, 1), 1024, 80, XV_CS_NEW | XV_CS_SRC_NAT);
	assert_int_equal(route(key, XV_RECIRC_ROUTED).patch, OUTSIDE);
	key.ct_state = XV_CS_ESTABLISHED | XV_CS_TRACKED;
	assert_int_equal(route(key, XV_RECIRC_ROUTER).patch, OUTSIDE);
	key.ct_state = XV_CS_INVALID | XV_CS_TRACKED;
	d = route(key, XV_RECIRC_ROUTER);
	assert_true(d.type == XV_ACT_DROP && d.arg == XV_DROP_CT_INVALID);
	router.n_nats = 0;
}

/* What a decision stands for passes the check that all programs from outside go through, and does
 * what it says. */
static void programs(void **state)
{
	struct xv_flow_key key = tcp(IP4(10, 0, 0, 7), IP4(192, 0, 2, 1), 1024, 80,
				     XV_CS_ESTABLISHED),
			   mask = {0};
	uint64_t words[XV_DECISION_WORDS];
	struct xv_decision d;
	struct xv_actions *actions;
	const struct xv_action *a;
	struct xv_err err = {0};
	unsigned int n = 0;
	uint32_t bytes;

	(void)state;
	d = route(key, XV_RECIRC_ROUTED);
	bytes = xv_decision_program(&d, words);
	actions = calloc(1, sizeof(*actions) + bytes);
	actions->bytes = bytes;
	memcpy(actions->program, words, bytes);
	memset(&mask.eth_type, 0xff, sizeof(mask.eth_type));
	memset(&mask.ip_ttl, 0xff, sizeof(mask.ip_ttl));
	if (xv_actions_check(actions, &key, &mask, &err) != 0)
		fail_msg("%s", err.text);
	for (a = xv_action_first(words); (const uint8_t *)a < (const uint8_t *)words + bytes;
	     a = xv_action_next(a), n++) {
		static const enum xv_action_type want[] = {XV_ACT_CT, XV_ACT_SET, XV_ACT_SET,
							   XV_ACT_PATCH, XV_ACT_RECIRC};

		assert_true(n < 5);
		assert_int_equal(a->type, want[n]);
	}
	assert_int_equal(n, 5);
	free(actions);
}

/* ---- Packets ---- */

static void packets_that_a_host_needs(void **state)
{
	union xv_ip_addr a4 = IP4(10, 0, 0, 1), b4 = IP4(10, 0, 0, 2),
			 a6 = {.bytes = {0x20, 1, [15] = 1}}, b6 = {.bytes = {0x20, 1, [15] = 2}};
	uint8_t frame[XV_HOST_PACKET_MAX], answer[XV_HOST_PACKET_MAX];
	struct xv_host_packet p;
	unsigned int v6;
	uint32_t len, cut;

	(void)state;
	for (v6 = 0; v6 < 2; v6++) {
		const union xv_ip_addr *a = v6 ? &a6 : &a4, *b = v6 ? &b6 : &b4;

		len = xv_host_ask(frame, mac_d, NULL, v6, a, b);
		assert_true(xv_host_packet_parse(frame, len, &p));
		assert_int_equal(p.type, v6 ? XV_HOST_SOLICIT : XV_HOST_ARP_REQUEST);
		assert_true(p.has_mac && memcmp(p.mac, mac_d, 6) == 0);
		assert_memory_equal(v6 ? &p.target : &p.dst, b, 16);
		assert_memory_equal(&p.src, a, 16);
		len = xv_host_tell(answer, mac_x, &p);
		assert_true(xv_host_packet_parse(answer, len, &p));
		assert_int_equal(p.type, v6 ? XV_HOST_ADVERT : XV_HOST_ARP_REPLY);
		assert_memory_equal(p.mac, mac_x, 6);
		assert_memory_equal(answer, mac_d, 6);
		assert_memory_equal(v6 ? &p.target : &p.src, b, 16);

		len = xv_host_echo(frame, mac_d, mac_x, v6, a, b, 77, 5);
		assert_true(xv_host_packet_parse(frame, len, &p));
		assert_true(p.type == XV_HOST_ECHO && p.id == 77 && p.seq == 5);
		xv_host_echo_turn(frame, &p);
		assert_true(xv_host_packet_parse(frame, len, &p));
		assert_true(p.type == XV_HOST_ECHO_REPLY && p.id == 77 && p.seq == 5);
		assert_memory_equal(&p.src, b, 16);
		assert_memory_equal(frame, mac_d, 6);

		len = xv_host_segment(frame, mac_d, mac_x, v6, a, b, 1000, 80, XV_HOST_TCP_SYN, 42);
		assert_true(xv_host_packet_parse(frame, len, &p));
		assert_true(p.type == XV_HOST_TCP && p.src_port == 1000 && p.dst_port == 80 &&
			    p.tcp_seq == 42);
		/* A bit that is wrong anywhere in the segment. */
		frame[14 + (v6 ? 40 : 20) + 9] ^= 1;
		(void)xv_host_packet_parse(frame, len, &p);
		assert_int_equal(p.type, XV_HOST_OTHER);
		/* However short it is: nothing is read that is not there (run under ASan). */
		for (cut = 0; cut < len; cut++) {
			uint8_t *piece = malloc(cut + 1);

			memcpy(piece, frame, cut);
			(void)xv_host_packet_parse(piece, cut, &p);
			free(piece);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_connections_are_shared),
		cmocka_unit_test(known_connections_stay),
		cmocka_unit_test(direct_server_return),
		cmocka_unit_test(nobody_is_left),
		cmocka_unit_test(other_packets_to_our_addresses),
		cmocka_unit_test(routing),
		cmocka_unit_test(translation),
		cmocka_unit_test(programs),
		cmocka_unit_test(packets_that_a_host_needs),
	};

	assert(xv_router_neighbours_init(&router, 1) == 0);
	memcpy(interfaces[1].mac, mac_out, 6);
	xv_router_neighbour_add(&router, OUTSIDE, &IP4(192, 0, 2, 1), mac_x);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
