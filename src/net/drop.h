/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a packet ended here. The one list; names are what operators, metrics and the API show.
 * Every packet that a worker takes in leaves transmitted, punted, or dropped with one of these.
 */
#pragma once

/* X(enum, name, explanation) */
#define XV_DROP_REASONS(X)                                                                         \
	X(UNBOUND, "unbound", "input port belongs to no network and no wire")                      \
	X(HEADER, "header", "virtio-net header is invalid: offsets or sizes beyond the packet")    \
	X(MALFORMED, "malformed", "frame is shorter than its headers say")                         \
	X(RUNT, "runt", "frame is shorter than an Ethernet header")                                \
	X(VLAN, "vlan", "VLAN is not allowed on the input port")                                   \
	X(NO_MEMBER, "no-member", "nobody else on the network (or VLAN) to send to")               \
	X(SAME_PORT, "same-port", "destination was learned on the input port itself")              \
	X(RESERVED_MAC, "reserved-mac", "link-local destination 01:80:c2:00:00:0x is not forwarded")\
	X(MTU, "mtu", "frame is larger than the output's MTU")                                     \
	X(OFFLOAD, "offload", "checksum or segmentation request cannot be carried out")            \
	X(RATE_LIMIT, "rate-limit", "output is over its rate limit")                               \
	X(TX_DOWN, "tx-down", "output port is down")                                               \
	X(TX_FULL, "tx-full", "output queue is full: receiver is too slow")                        \
	X(TX_SIZE, "tx-size", "receiver's buffers are too small for the frame")                    \
	X(POLICY, "policy", "a rule of the port's policy denies it")                               \
	X(SPOOFED, "spoofed", "sender address is not the port's, or it acts as DHCP server or router") \
	X(FIREWALL, "firewall", "the port's security groups do not allow it")                      \
	X(CT_INVALID, "ct-invalid", "belongs to no connection and cannot open one")                \
	X(CT_FULL, "ct-full", "no room for another connection")                                    \
	X(CT_LIMIT, "ct-limit", "its zone has as many connections as it may have")                 \
	X(CT_NAT, "ct-nat", "no free address or port for translation, or it cannot be translated") \
	X(CT_HELPER, "ct-helper", "a connection's helper could not rewrite what it announces")     \
	X(FRAG_INVALID, "frag-invalid", "fragment that cannot be: cut off, beyond 64 KiB, or too short for its transport header") \
	X(FRAG_OVERLAP, "frag-overlap", "fragment of a datagram that has others in its place")      \
	X(FRAG_TIMEOUT, "frag-timeout", "the rest of the fragment's datagram did not come in time") \
	X(FRAG_LIMIT, "frag-limit", "too many fragments wait for the rest of their datagrams")      \
	X(NO_BACKEND, "no-backend", "the load balancer has no backend for it")                    \
	X(NO_SERVICE, "no-service", "to an address of xviod's own, and nothing is there")          \
	X(NO_ROUTE, "no-route", "the network has no router, or it does not forward to that address") \
	X(NO_FLOW, "no-flow", "no flow matches, and nobody decides")                               \
	X(UPCALL_FULL, "upcall-full", "too many packets of the port wait for the slow path already") \
	X(UPCALL_NOBODY, "upcall-nobody", "for the slow path, but nobody is there")                \
	X(ACTION, "action", "the flow's actions end without sending it")                           \
	X(METER, "meter", "over the rate of its meter")                                            \
	X(DEPTH, "depth", "recirculated more often than is allowed")                               \
	X(TUNNEL, "tunnel", "outer headers could not be put on")                                   \
	X(TUNNEL_STRAY, "tunnel-stray", "not for the VTEP's address, or of no tunnel type that it has") \
	X(TUNNEL_HEADER, "tunnel-header", "tunnel packet whose headers are broken or not supported") \
	X(TUNNEL_CSUM, "tunnel-csum", "tunnel packet with a wrong outer checksum")                 \
	X(TUNNEL_VNI, "tunnel-vni", "tunnel packet for a VNI that no network has")                 \
	X(TUNNEL_SOURCE, "tunnel-source", "tunnel packet from a host that is no remote of the network") \
	X(TUNNEL_ECN, "tunnel-ecn", "congestion was marked on a packet that cannot tell (RFC 6040)") \
	X(TUNNEL_HORIZON, "tunnel-horizon", "came out of a tunnel, would go into one of the same network") \
	X(TUNNEL_BUSY, "tunnel-busy", "too many ARP, ND and ICMP packets to the VTEP at once")     \
	X(NO_NEIGHBOUR, "no-neighbour", "next hop of the tunnel does not answer ARP or ND")        \
	X(NO_BUFFER, "no-buffer", "out of packet memory")                                          \
	X(DETACHED, "detached", "port was removed while the packet waited")

enum xv_drop {
#define X(e, n, t) XV_DROP_##e,
	XV_DROP_REASONS(X)
#undef X
	XV_DROP_MAX
};

struct xv_drop_info {
	const char *name, *explanation;
};
extern const struct xv_drop_info xv_drop_info[XV_DROP_MAX];
