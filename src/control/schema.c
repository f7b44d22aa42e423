/* SPDX-License-Identifier: Apache-2.0 */
#include "control/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const hugepage_words[] = {"auto", "off", NULL};
static const char *const port_kinds[] = {"vhost", "ethdev", "tap", "dummy", NULL};
static const char *const vhost_modes[] = {"server", "client", NULL};
static const char *const tunnel_types[] = {"vxlan", "geneve", "gre", "nvgre", "mpls-gre", "mpls-udp", NULL};
static const char *const inherit[] = {"inherit", NULL};
static const char *const verdicts[] = {"deny", "allow", NULL};
static const char *const rule_verdicts[] = {"deny", "allow", "reject", NULL};
static const char *const lb_protocols[] = {"tcp", "udp", "sctp", NULL};
static const char *const lb_modes[] = {"nat", "dsr", NULL};
static const char *const lb_health[] = {"none", "tcp", "icmp", NULL};
static const char *const nat_types[] = {"floating", "snat", NULL};
static const char *const directions[] = {"ingress", "egress", NULL};

static const struct xv_key daemon_keys[] = {
	{.name = "log_level",
	 .type = XV_TYPE_WORD,
	 .words = log_levels,
	 .def = "info",
	 .help = "least important log lines that are written"},
	{.name = "metrics",
	 .type = XV_TYPE_ADDRESS,
	 .def = "off",
	 .min = 0,
	 .max = XV_SOCKET_PATH_MAX,
	 .example = "127.0.0.1:9180",
	 .help = "where OpenMetrics are served over HTTP"},
	{.name = "hugepages",
	 .type = XV_TYPE_WORD,
	 .words = hugepage_words,
	 .def = "auto",
	 .flags = XV_KEY_START,
	 .help = "auto: packet memory in hugepages if enough are free"},
	{.name = "memory_mb",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 1 << 20,
	 .def = "0",
	 .flags = XV_KEY_START,
	 .help = "packet memory in MB; 0 = computed"},
	{.name = "batch",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 64,
	 .def = "32",
	 .help = "a queue is served when this many packets wait ..."},
	{.name = "batch_wait_us",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 1000,
	 .def = "8",
	 .help = "... or this long has passed since the first was seen; 0 = at once"},
	{.name = "idle_spin_us",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 1000000,
	 .def = "50",
	 .help = "a worker polls this long without work before it sleeps"},
	{.name = "ovs_socket",
	 .type = XV_TYPE_PATH,
	 .max = XV_SOCKET_PATH_MAX,
	 .flags = XV_KEY_START,
	 .example = "/run/xvio/ovs.sock",
	 .help = "where xvio-vswitchd connects, so that Open vSwitch decides about ports of its own; unset: it cannot"},
	{.name = "socket_owner",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 32,
	 .example = "libvirt-qemu",
	 .help = "owner of vhost sockets that are created from now on; unset = unchanged"},
	{.name = "socket_group",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 32,
	 .example = "kvm",
	 .help = "group of vhost sockets that are created from now on; unset = unchanged"},
	{.name = "socket_mode",
	 .type = XV_TYPE_MODE,
	 .example = "\"0660\"",
	 .help = "permission bits of vhost sockets that are created from now on; unset = "
		 "unchanged"},
	{.name = NULL},
};

#define MAX_CONNECTIONS (1 << 30) /* fastpath/conntrack.h */

static const struct xv_key conntrack_keys[] = {
	{.name = "max_connections",
	 .type = XV_TYPE_NUMBER,
	 .min = 1024,
	 .max = MAX_CONNECTIONS,
	 .def = "2097152",
	 .flags = XV_KEY_START,
	 .help = "connections there is room for; memory is used as they are"},
	{.name = "zone_limit",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = MAX_CONNECTIONS,
	 .def = "0",
	 .help = "connections at most on a network that has no limit of its own; 0 = no limit"},
	{.name = "half_open_limit",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = MAX_CONNECTIONS,
	 .def = "65536",
	 .help = "connections that nobody has answered, of a port; who has more loses its oldest one"},
	{.name = "pick_up",
	 .type = XV_TYPE_BOOL,
	 .def = "true",
	 .help = "take up TCP connections whose handshake was not seen, as after a migration; else they are invalid"},
	{.name = "timeouts",
	 .type = XV_TYPE_NAME,
	 .ref = "timeout",
	 .example = "short",
	 .help = "timeouts on networks that name none; unset = those of nf_conntrack"},
	{.name = NULL},
};

#define TIMEOUT(key, seconds, what)                                                                \
	{.name = key, .type = XV_TYPE_NUMBER, .min = 1, .max = 1000000, .def = seconds, .help = what}

/* Names of timeouts as ovs-vsctl has them, defaults of nf_conntrack: fastpath/conntrack_proto.c. */
static const struct xv_key timeout_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "short",
	 .help = "name of this set of timeouts; all are seconds"},
	TIMEOUT("tcp_syn_sent", "120", "tcp: SYN sent"),
	TIMEOUT("tcp_syn_recv", "60", "tcp: SYN and SYN-ACK seen"),
	TIMEOUT("tcp_established", "432000", "tcp: open"),
	TIMEOUT("tcp_fin_wait", "120", "tcp: one side has sent FIN"),
	TIMEOUT("tcp_close_wait", "60", "tcp: that FIN is acknowledged"),
	TIMEOUT("tcp_last_ack", "30", "tcp: both have sent FIN"),
	TIMEOUT("tcp_time_wait", "120", "tcp: both FINs are acknowledged"),
	TIMEOUT("tcp_close", "10", "tcp: after RST"),
	TIMEOUT("tcp_syn_sent2", "120", "tcp: both have sent SYN"),
	TIMEOUT("tcp_retransmit", "300", "tcp: sent again and again without an answer, or the window is closed; at most"),
	TIMEOUT("tcp_unack", "300", "tcp: something is not acknowledged; at most"),
	TIMEOUT("udp_first", "30", "udp: one datagram"),
	TIMEOUT("udp_single", "30", "udp: further ones, or an answer"),
	TIMEOUT("udp_multiple", "120", "udp: answered for more than two seconds"),
	TIMEOUT("icmp_first", "30", "icmp, icmpv6: a query"),
	TIMEOUT("icmp_reply", "30", "icmp, icmpv6: answered"),
	TIMEOUT("sctp_closed", "10", "sctp: after ABORT"),
	TIMEOUT("sctp_cookie_wait", "3", "sctp: INIT sent"),
	TIMEOUT("sctp_cookie_echoed", "3", "sctp: COOKIE-ECHO sent"),
	TIMEOUT("sctp_established", "210", "sctp: open"),
	TIMEOUT("sctp_shutdown_sent", "3", "sctp: SHUTDOWN sent"),
	TIMEOUT("sctp_shutdown_recd", "3", "sctp: SHUTDOWN received"),
	TIMEOUT("sctp_shutdown_ack_sent", "3", "sctp: SHUTDOWN-ACK sent"),
	TIMEOUT("sctp_heartbeat_sent", "30", "sctp: HEARTBEAT on another path"),
	TIMEOUT("generic", "600", "other protocols"),
	{.name = NULL},
};

static const struct xv_key worker_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "w0",
	 .help = "name of the worker"},
	{.name = "cpu",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 1023,
	 .example = "2",
	 .help = "the CPU it is pinned to; unset = not pinned"},
	{.name = NULL},
};

static const struct xv_key network_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "blue",
	 .help = "name of the network"},
	{.name = "mac_age_s",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 1000000,
	 .def = "300",
	 .help = "an address that was not seen for this long is forgotten"},
	{.name = "mac_limit",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 1 << 20,
	 .def = "4096",
	 .help = "addresses learned at most; frames to others are flooded"},
	{.name = "vtep",
	 .type = XV_TYPE_NAME,
	 .ref = "vtep",
	 .example = "v0",
	 .help = "our end of the tunnels by which the network spans hosts; unset = this host only"},
	{.name = "vni",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = UINT32_MAX,
	 .example = "100",
	 .help = "number of the network in its tunnels: VNI, VSID, key or label; required with vtep, but for gre"},
	{.name = "tunnel",
	 .type = XV_TYPE_WORD,
	 .words = tunnel_types,
	 .example = "vxlan",
	 .help = "type of its tunnels; unset = vxlan"},
	{.name = "udp_port",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 65535,
	 .example = "8472",
	 .help = "UDP port of its tunnels at both ends; unset = 4789 (vxlan), 6081 (geneve), 6635 (mpls-udp)"},
	{.name = "gbp",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 65535,
	 .example = "7",
	 .help = "group policy id that is sent, of vxlan; unset = none. Received ones are ignored"},
	{.name = "remotes",
	 .type = XV_TYPE_IPS,
	 .max = 512,
	 .example = "[192.0.2.2, 192.0.2.3]",
	 .help = "addresses of the other hosts' VTEPs; what is flooded goes to each"},
	{.name = "zone_limit",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = MAX_CONNECTIONS,
	 .example = "100000",
	 .help = "tracked connections at most; 0 = no limit; unset = that of conntrack"},
	{.name = "timeouts",
	 .type = XV_TYPE_NAME,
	 .ref = "timeout",
	 .example = "short",
	 .help = "timeouts of its connections; unset = those of conntrack"},
	{.name = "gateway_mac",
	 .type = XV_TYPE_MAC,
	 .example = "02:00:5e:00:00:01",
	 .help = "MAC address of its load balancers and its router; unset = made of the host's id and its name"},
	{.name = NULL},
};

static const struct xv_key rule_keys[] = {
	{.name = "action",
	 .type = XV_TYPE_WORD,
	 .words = rule_verdicts,
	 .flags = XV_KEY_REQUIRED,
	 .example = "allow",
	 .help = "what becomes of the packets that match; reject: denied, and the sender is told"},
	{.name = "log",
	 .type = XV_TYPE_BOOL,
	 .example = "true",
	 .help = "write a line for what matches (rate-limited); unset = false"},
	{.name = "name",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = XV_NAME_MAX,
	 .example = "no-lab",
	 .help = "name of the rule; unset = \"rule N\""},
	{.name = "ip_version",
	 .type = XV_TYPE_NUMBER,
	 .min = 4,
	 .max = 6,
	 .example = "4",
	 .help = "4 or 6; unset = any, also what is not IP"},
	{.name = "protocol",
	 .type = XV_TYPE_PROTOCOL,
	 .example = "tcp",
	 .help = "IP protocol; icmp is that of IPv4, icmpv6 that of IPv6"},
	{.name = "source",
	 .type = XV_TYPE_PREFIX,
	 .example = "2001:db8::/32",
	 .help = "source addresses"},
	{.name = "destination",
	 .type = XV_TYPE_PREFIX,
	 .example = "10.0.0.0/8",
	 .help = "destination addresses"},
	{.name = "source_port",
	 .type = XV_TYPE_PORTS,
	 .example = "1024-65535",
	 .help = "source ports, of tcp, udp or sctp"},
	{.name = "destination_port",
	 .type = XV_TYPE_PORTS,
	 .example = "80",
	 .help = "destination ports, of tcp, udp or sctp"},
	{.name = "icmp_type",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 255,
	 .example = "8",
	 .help = "type of the message, of icmp or icmpv6"},
	{.name = "icmp_code",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 255,
	 .example = "0",
	 .help = "code of the message, together with icmp_type"},
	{.name = "vlan",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 4094,
	 .example = "20",
	 .help = "VLAN in the outermost tag; 0 = no tag, or one without a VLAN"},
	{.name = "source_mac",
	 .type = XV_TYPE_MAC,
	 .example = "02:00:00:00:00:01",
	 .help = "source MAC address"},
	{.name = "destination_mac",
	 .type = XV_TYPE_MAC,
	 .example = "01:00:00:00:00:00/01:00:00:00:00:00",
	 .help = "destination MAC address"},
	{.name = "ether_type",
	 .type = XV_TYPE_ETH_TYPE,
	 .example = "0x0806",
	 .help = "Ethernet type behind VLAN tags; 0x05ff = 802.3 frames, which have none"},
	{.name = NULL},
};

#define MAX_RULES 10000

static const struct xv_key policy_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "web",
	 .help = "name of the policy"},
	{.name = "default",
	 .type = XV_TYPE_WORD,
	 .words = verdicts,
	 .def = "deny",
	 .help = "what becomes of packets that no rule matches"},
	{.name = "rules",
	 .type = XV_TYPE_ENTRIES,
	 .entry = "rule",
	 .keys = rule_keys,
	 .max = MAX_RULES,
	 .def = "[]",
	 .example = "[{action: allow, protocol: tcp}]",
	 .help = "the first one that matches a packet decides"},
	{.name = NULL},
};

/* What `rule add` and `rule set` take; behind the first two, the keys of a rule. */
static const struct xv_key rule_edit_keys[] = {
	{.name = "rule",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 2 * XV_NAME_MAX + 1,
	 .flags = XV_KEY_REQUIRED,
	 .example = "web/ssh",
	 .help = "GROUP/RULE, where RULE is a name or a number from 1; to add one: GROUP or GROUP/NAME"},
	{.name = "position",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = MAX_RULES,
	 .example = "1",
	 .help = "its number among the group's rules from now on; unset = the last, or as before"},
	{.name = "direction",
	 .type = XV_TYPE_WORD,
	 .words = directions,
	 .flags = XV_KEY_REQUIRED,
	 .example = "ingress",
	 .help = "ingress: connections opened towards the VM; egress: by it"},
	{.name = "action",
	 .type = XV_TYPE_WORD,
	 .words = rule_verdicts,
	 .def = "allow",
	 .help = "what becomes of the connection; reject: denied, and the sender is told"},
	{.name = "name",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = XV_NAME_MAX,
	 .example = "ssh",
	 .help = "name of the rule; unset = its number"},
	{.name = "ip_version",
	 .type = XV_TYPE_NUMBER,
	 .min = 4,
	 .max = 6,
	 .example = "4",
	 .help = "4 or 6; unset = any, also what is not IP"},
	{.name = "protocol",
	 .type = XV_TYPE_PROTOCOL,
	 .example = "tcp",
	 .help = "IP protocol; icmp is that of IPv4, icmpv6 that of IPv6"},
	{.name = "port",
	 .type = XV_TYPE_PORTS,
	 .example = "22",
	 .help = "destination ports of the connection's first packet, of tcp, udp or sctp"},
	{.name = "icmp_type",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 255,
	 .example = "8",
	 .help = "type of the message, of icmp or icmpv6"},
	{.name = "icmp_code",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 255,
	 .example = "0",
	 .help = "code of the message, together with icmp_type"},
	{.name = "remote",
	 .type = XV_TYPE_PREFIX,
	 .example = "10.0.0.0/8",
	 .help = "who may be at the other end; unset = anybody"},
	{.name = "remote_group",
	 .type = XV_TYPE_NAME,
	 .ref = "group",
	 .example = "clients",
	 .help = "the same: the addresses of all ports in that group"},
	{.name = "log",
	 .type = XV_TYPE_BOOL,
	 .example = "true",
	 .help = "write a line for connections that match (rate-limited); unset = false"},
	{.name = NULL},
};

#define group_rule_keys (&rule_edit_keys[2])

static const struct xv_key group_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "web",
	 .help = "name of the security group"},
	{.name = "rules",
	 .type = XV_TYPE_ENTRIES,
	 .entry = "group rule",
	 .keys = group_rule_keys,
	 .max = MAX_RULES,
	 .def = "[]",
	 .example = "[{direction: ingress, protocol: tcp, port: 80}]",
	 .help = "the first one that matches decides; what none matches is denied"},
	{.name = "includes",
	 .type = XV_TYPE_NAMES,
	 .ref = "group",
	 .min = 1,
	 .max = 64,
	 .example = "[monitored, ssh]",
	 .help = "groups that the ports of this one are in, too, as if they named them behind it; unset = none"},
	{.name = NULL},
};

#define MAX_PPS INT64_C(1000000000)
#define MAX_BPS INT64_C(1000000000000)

static const struct xv_key port_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "vm1",
	 .help = "name of the port"},
	{.name = "kind",
	 .type = XV_TYPE_WORD,
	 .words = port_kinds,
	 .def = "vhost",
	 .flags = XV_KEY_DEVICE,
	 .help = "vhost: a VM; ethdev: any DPDK device; tap: a kernel interface; dummy: for tests"},
	{.name = "socket",
	 .type = XV_TYPE_PATH,
	 .min = 1,
	 .max = XV_SOCKET_PATH_MAX,
	 .only = "vhost",
	 .flags = XV_KEY_REQUIRED | XV_KEY_DEVICE,
	 .example = "/run/xvio/vm1.sock",
	 .help = "vhost-user socket"},
	{.name = "mode",
	 .type = XV_TYPE_WORD,
	 .words = vhost_modes,
	 .def = "server",
	 .only = "vhost",
	 .flags = XV_KEY_DEVICE,
	 .help = "server: xviod listens on the socket; client: it connects, and reconnects"},
	{.name = "device",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 255,
	 .only = "ethdev",
	 .flags = XV_KEY_REQUIRED | XV_KEY_DEVICE,
	 .example = "0000:05:00.1",
	 .help = "PCI address, or a virtual device with its arguments: net_af_packet0,iface=eth1"},
	{.name = "interface",
	 .type = XV_TYPE_TEXT,
	 .min = 1,
	 .max = 15,
	 .only = "tap",
	 .flags = XV_KEY_REQUIRED | XV_KEY_DEVICE,
	 .example = "xvtap0",
	 .help = "name of the kernel's interface"},
	{.name = "queues",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 32,
	 .def = "1",
	 .flags = XV_KEY_DEVICE,
	 .help = "queue pairs"},
	{.name = "mtu",
	 .type = XV_TYPE_NUMBER,
	 .min = 68,
	 .max = 65535,
	 .example = "1500",
	 .help = "larger frames to this port are dropped; unset = no limit"},
	{.name = "network",
	 .type = XV_TYPE_NAME,
	 .ref = "network",
	 .example = "blue",
	 .help = "the network it belongs to; unset = none (or a wire uses the port)"},
	{.name = "vlan",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 4094,
	 .def = "0",
	 .help = "VLAN of untagged frames; 0 = none"},
	{.name = "trunk",
	 .type = XV_TYPE_VLANS,
	 .min = 1,
	 .max = 4094,
	 .example = "[20, 30-39]",
	 .help = "VLANs that pass tagged"},
	{.name = "egress_policy",
	 .type = XV_TYPE_NAME,
	 .ref = "policy",
	 .example = "web",
	 .help = "policy for what the VM sends; unset = everything is allowed"},
	{.name = "ingress_policy",
	 .type = XV_TYPE_NAME,
	 .ref = "policy",
	 .example = "web",
	 .help = "policy for what goes to the VM; unset = everything is allowed"},
	{.name = "groups",
	 .type = XV_TYPE_NAMES,
	 .ref = "group",
	 .min = 1,
	 .max = 64,
	 .example = "[web, default]",
	 .help = "security groups: only connections that their rules allow; unset = no firewall"},
	{.name = "mac",
	 .type = XV_TYPE_MAC,
	 .example = "02:00:00:00:00:01",
	 .help = "the VM's own MAC address; it may send from no other"},
	{.name = "addresses",
	 .type = XV_TYPE_IPS,
	 .max = 64,
	 .example = "[10.0.0.5, 2001:db8::5]",
	 .help = "the VM's own IP addresses; it may send from no other, and remote groups mean them"},
	{.name = "anti_spoofing",
	 .type = XV_TYPE_BOOL,
	 .example = "false",
	 .help = "hold the VM to mac and addresses, let it be no DHCP server and no router; unset = true"},
	{.name = "rx_limit_pps",
	 .type = XV_TYPE_RATE,
	 .max = MAX_PPS,
	 .def = "0",
	 .example = "100k",
	 .help = "packets per second taken from the port; 0 = no limit"},
	{.name = "rx_limit_bps",
	 .type = XV_TYPE_RATE,
	 .max = MAX_BPS,
	 .def = "0",
	 .example = "1G",
	 .help = "bits per second taken from the port; 0 = no limit"},
	{.name = "tx_limit_pps",
	 .type = XV_TYPE_RATE,
	 .max = MAX_PPS,
	 .def = "0",
	 .example = "100k",
	 .help = "packets per second sent to the port; 0 = no limit"},
	{.name = "tx_limit_bps",
	 .type = XV_TYPE_RATE,
	 .max = MAX_BPS,
	 .def = "0",
	 .example = "1G",
	 .help = "bits per second sent to the port; 0 = no limit"},
	{.name = "limit_burst_ms",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 10000,
	 .def = "10",
	 .help = "how much of an unused limit is saved up, as time"},
	{.name = "tso", .type = XV_TYPE_BOOL, .def = "true", .help = "offer segmentation offload"},
	{.name = "csum", .type = XV_TYPE_BOOL, .def = "true", .help = "offer checksum offload"},
	{.name = NULL},
};

static const struct xv_key vtep_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "v0",
	 .help = "name of the VTEP"},
	{.name = "port",
	 .type = XV_TYPE_NAME,
	 .ref = "port",
	 .example = "uplink0",
	 .help = "the uplink: a port of any kind that belongs to no network and no wire"},
	{.name = "ports",
	 .type = XV_TYPE_NAMES,
	 .ref = "port",
	 .min = 1,
	 .max = 8,
	 .example = "[uplink0, uplink1]",
	 .help = "instead of port: uplinks over which flows are spread"},
	{.name = "address",
	 .type = XV_TYPE_INTERFACE,
	 .flags = XV_KEY_REQUIRED,
	 .example = "192.0.2.1/24",
	 .help = "its own address in the underlay, with the length of the prefix that is on-link"},
	{.name = "gateway",
	 .type = XV_TYPE_IP,
	 .example = "192.0.2.254",
	 .help = "the way to remotes that are not on-link"},
	{.name = "vlan",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 4094,
	 .def = "0",
	 .help = "VLAN of the underlay, as a tag on all that goes out and comes in; 0 = untagged"},
	{.name = "ttl",
	 .type = XV_TYPE_NUMBER,
	 .words = inherit,
	 .min = 1,
	 .max = 255,
	 .def = "64",
	 .help = "TTL or hop limit of outer headers; inherit = that of the packet inside, 64 if it has none"},
	{.name = "dscp",
	 .type = XV_TYPE_NUMBER,
	 .words = inherit,
	 .min = 0,
	 .max = 63,
	 .def = "0",
	 .help = "DSCP of outer headers; inherit = that of the packet inside. ECN follows RFC 6040 always"},
	{.name = "df",
	 .type = XV_TYPE_BOOL,
	 .def = "true",
	 .help = "forbid routers to fragment outer packets (IPv4)"},
	{.name = "csum",
	 .type = XV_TYPE_BOOL,
	 .example = "true",
	 .help = "checksum in outer UDP and GRE headers; unset = in UDP over IPv6"},
	{.name = NULL},
};

static const struct xv_key backend_keys[] = {
	{.name = "address",
	 .type = XV_TYPE_IP,
	 .flags = XV_KEY_REQUIRED,
	 .example = "10.0.0.11",
	 .help = "its own address, on the load balancer's network"},
	{.name = "port",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 65535,
	 .example = "8080",
	 .help = "the port that it listens on; unset = the load balancer's"},
	{.name = "weight",
	 .type = XV_TYPE_NUMBER,
	 .min = 0,
	 .max = 1000,
	 .def = "1",
	 .help = "its share of new connections, next to those of others; 0 = none"},
	{.name = "drain",
	 .type = XV_TYPE_BOOL,
	 .example = "true",
	 .help = "no new connections, those that it has go on; unset = false"},
	{.name = NULL},
};

static const struct xv_key lb_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "web",
	 .help = "name of the load balancer"},
	{.name = "network",
	 .type = XV_TYPE_NAME,
	 .ref = "network",
	 .flags = XV_KEY_REQUIRED,
	 .example = "blue",
	 .help = "the network that its address and its backends are on"},
	{.name = "address",
	 .type = XV_TYPE_IP,
	 .flags = XV_KEY_REQUIRED,
	 .example = "10.0.0.100",
	 .help = "the virtual address; several may share it, with different ports"},
	{.name = "protocol", .type = XV_TYPE_WORD, .words = lb_protocols, .def = "tcp", .help = "of its connections"},
	{.name = "port",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 65535,
	 .flags = XV_KEY_REQUIRED,
	 .example = "80",
	 .help = "the virtual port"},
	{.name = "mode",
	 .type = XV_TYPE_WORD,
	 .words = lb_modes,
	 .def = "nat",
	 .help = "nat: the destination becomes the backend's; dsr: direct server return, backends have the virtual address "
		 "on their loopback"},
	{.name = "backends",
	 .type = XV_TYPE_ENTRIES,
	 .entry = "backend",
	 .keys = backend_keys,
	 .max = 128,
	 .def = "[]",
	 .example = "[{address: 10.0.0.11}, {address: 10.0.0.12, weight: 2}]",
	 .help = "who serves its connections"},
	{.name = "health",
	 .type = XV_TYPE_WORD,
	 .words = lb_health,
	 .def = "none",
	 .help = "how it finds out who can; tcp: who accepts a connection; icmp: who answers a ping; none = all"},
	{.name = "health_source",
	 .type = XV_TYPE_IP,
	 .example = "10.0.0.253",
	 .help = "address that health checks come from, nobody else's; unset = that of the network's router"},
	{.name = "health_port",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 65535,
	 .example = "8080",
	 .help = "port that is connected to; unset = the backend's"},
	{.name = "health_interval_ms", .type = XV_TYPE_NUMBER, .min = 100, .max = 3600000, .def = "2000", .help = "time between checks"},
	{.name = "health_timeout_ms",
	 .type = XV_TYPE_NUMBER,
	 .min = 10,
	 .max = 60000,
	 .def = "1000",
	 .help = "an answer that takes longer is none; not longer than the interval"},
	{.name = "health_fall",
	 .type = XV_TYPE_NUMBER,
	 .min = 1,
	 .max = 100,
	 .def = "3",
	 .help = "checks in a row without an answer until a backend is down"},
	{.name = "health_rise", .type = XV_TYPE_NUMBER, .min = 1, .max = 100, .def = "2", .help = "with one, until it is up again"},
	{.name = NULL},
};

static const struct xv_key interface_keys[] = {
	{.name = "network",
	 .type = XV_TYPE_NAME,
	 .ref = "network",
	 .flags = XV_KEY_REQUIRED,
	 .example = "blue",
	 .help = "a network that it routes; no other router does"},
	{.name = "address",
	 .type = XV_TYPE_INTERFACE,
	 .flags = XV_KEY_REQUIRED,
	 .example = "10.0.0.1/24",
	 .help = "its own address there, the gateway of the VMs, with the length of the prefix that is on-link"},
	{.name = NULL},
};

static const struct xv_key nat_keys[] = {
	{.name = "type",
	 .type = XV_TYPE_WORD,
	 .words = nat_types,
	 .flags = XV_KEY_REQUIRED,
	 .example = "snat",
	 .help = "floating: one address for one VM, both ways; snat: one for all of a prefix, for what they open"},
	{.name = "external",
	 .type = XV_TYPE_IP,
	 .flags = XV_KEY_REQUIRED,
	 .example = "192.0.2.10",
	 .help = "the address outside, on one of the router's networks; of snat also the router's own"},
	{.name = "internal",
	 .type = XV_TYPE_PREFIX,
	 .flags = XV_KEY_REQUIRED,
	 .example = "10.0.0.0/24",
	 .help = "floating: the VM's address; snat: those of the VMs"},
	{.name = "ports", .type = XV_TYPE_PORTS, .example = "1024-65535", .help = "of snat: ports (and ICMP ids) that may be used; unset = by class, as nf_nat"},
	{.name = NULL},
};

static const struct xv_key router_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "r0",
	 .help = "name of the router"},
	{.name = "interfaces",
	 .type = XV_TYPE_ENTRIES,
	 .entry = "interface",
	 .keys = interface_keys,
	 .max = 64,
	 .flags = XV_KEY_REQUIRED,
	 .example = "[{network: blue, address: 10.0.0.1/24}]",
	 .help = "its addresses on networks"},
	{.name = "gateways",
	 .type = XV_TYPE_IPS,
	 .max = 2,
	 .example = "[192.0.2.1]",
	 .help = "where to send what is on none of its networks: one of IPv4, one of IPv6"},
	{.name = "nat",
	 .type = XV_TYPE_ENTRIES,
	 .entry = "nat rule",
	 .keys = nat_keys,
	 .max = 1024,
	 .def = "[]",
	 .example = "[{type: snat, external: 192.0.2.10, internal: 10.0.0.0/24}]",
	 .help = "translation between its networks"},
	{.name = NULL},
};

static const struct xv_key wire_keys[] = {
	{.name = "name",
	 .type = XV_TYPE_NAME,
	 .flags = XV_KEY_REQUIRED,
	 .example = "direct",
	 .help = "name of the wire"},
	{.name = "ports",
	 .type = XV_TYPE_NAMES,
	 .ref = "port",
	 .min = 2,
	 .max = 2,
	 .flags = XV_KEY_REQUIRED,
	 .example = "[vm3, vm4]",
	 .help = "the two ports: everything from one goes to the other, no look-up"},
	{.name = NULL},
};

const struct xv_object xv_schema[] = {
	{.name = "daemon",
	 .section = "daemon",
	 .keys = daemon_keys,
	 .single = true,
	 .help = "settings of xviod itself"},
	{.name = "conntrack",
	 .section = "conntrack",
	 .keys = conntrack_keys,
	 .single = true,
	 .help = "settings of connection tracking"},
	{.name = "worker",
	 .section = "workers",
	 .keys = worker_keys,
	 .help = "a thread that moves packets; without any there is one, w0, not pinned"},
	{.name = "timeout",
	 .section = "timeouts",
	 .keys = timeout_keys,
	 .help = "how long connections may be silent, by protocol and state"},
	{.name = "network",
	 .section = "networks",
	 .keys = network_keys,
	 .help = "a switch that learns MAC addresses, with VLANs"},
	{.name = "policy",
	 .section = "policies",
	 .keys = policy_keys,
	 .help = "rules that allow and deny packets, without state"},
	{.name = "group",
	 .section = "groups",
	 .keys = group_keys,
	 .help = "a security group: rules with state for the VMs that belong to it"},
	{.name = "port",
	 .section = "ports",
	 .keys = port_keys,
	 .help = "where packets come in and go out"},
	{.name = "vtep",
	 .section = "vteps",
	 .keys = vtep_keys,
	 .help = "our end of tunnels to other hosts"},
	{.name = "lb",
	 .section = "load_balancers",
	 .keys = lb_keys,
	 .help = "a virtual address and port, and the backends that serve it"},
	{.name = "router",
	 .section = "routers",
	 .keys = router_keys,
	 .help = "a way between networks, with floating addresses and SNAT"},
	{.name = "wire", .section = "wires", .keys = wire_keys, .help = "a fixed pair of ports"},
	{.name = NULL},
};

const struct xv_object *xv_schema_object(const char *name)
{
	for (const struct xv_object *o = xv_schema; o->name != NULL; o++) {
		if (strcmp(o->name, name) == 0)
			return o;
	}
	return NULL;
}

const struct xv_object *xv_schema_section(const char *section)
{
	for (const struct xv_object *o = xv_schema; o->name != NULL; o++) {
		if (strcmp(o->section, section) == 0)
			return o;
	}
	return NULL;
}

const struct xv_key *xv_schema_key(const struct xv_key *keys, const char *name)
{
	for (const struct xv_key *k = keys; k->name != NULL; k++) {
		if (strcmp(k->name, name) == 0)
			return k;
	}
	return NULL;
}

const struct xv_key *xv_schema_keys(const char *name)
{
	const struct xv_object *object = xv_schema_object(name);

	if (object != NULL)
		return object->keys;
	if (strcmp(name, "rule edit") == 0)
		return rule_edit_keys;
	for (object = xv_schema; object->name != NULL; object++) {
		for (const struct xv_key *k = object->keys; k->name != NULL; k++) {
			if (k->entry != NULL && strcmp(k->entry, name) == 0)
				return k->keys;
		}
	}
	return NULL;
}

const char *xv_key_describe(const struct xv_key *key, char *buf, size_t size)
{
	size_t n;

	switch (key->type) {
	case XV_TYPE_NAME:
		if (key->ref != NULL)
			snprintf(buf, size, "name of a %s", key->ref);
		else
			snprintf(buf, size, "name");
		break;
	case XV_TYPE_TEXT:
		snprintf(buf, size, "text");
		break;
	case XV_TYPE_PATH:
		snprintf(buf, size, "absolute path");
		break;
	case XV_TYPE_WORD:
		n = (size_t)snprintf(buf, size, "%s", key->words[0]);
		for (unsigned int i = 1; key->words[i] != NULL && n < size; i++)
			n += (size_t)snprintf(buf + n, size - n, "%s%s",
					      key->words[i + 1] != NULL ? ", " : " or ",
					      key->words[i]);
		break;
	case XV_TYPE_NUMBER:
		n = (size_t)snprintf(buf, size, "number %lld..%lld", (long long)key->min, (long long)key->max);
		if (key->words != NULL && n < size)
			snprintf(buf + n, size - n, " or %s", key->words[0]);
		break;
	case XV_TYPE_RATE:
		snprintf(buf, size, "number, also with k, M or G");
		break;
	case XV_TYPE_BOOL:
		snprintf(buf, size, "true or false");
		break;
	case XV_TYPE_MODE:
		snprintf(buf, size, "octal permission bits");
		break;
	case XV_TYPE_ADDRESS:
		snprintf(buf, size, "ADDRESS:PORT, unix:PATH or off");
		break;
	case XV_TYPE_NAMES:
		if (key->min == key->max)
			snprintf(buf, size, "list of %lld names", (long long)key->min);
		else
			snprintf(buf, size, "list of names");
		break;
	case XV_TYPE_VLANS:
		snprintf(buf, size, "list of VLANs and ranges");
		break;
	case XV_TYPE_PROTOCOL:
		snprintf(buf, size, "protocol name or number 0..255");
		break;
	case XV_TYPE_PREFIX:
		snprintf(buf, size, "address or address/length");
		break;
	case XV_TYPE_PORTS:
		snprintf(buf, size, "port or range 0..65535");
		break;
	case XV_TYPE_MAC:
		snprintf(buf, size, "MAC address or address/mask");
		break;
	case XV_TYPE_ETH_TYPE:
		snprintf(buf, size, "number 0x05ff..0xffff");
		break;
	case XV_TYPE_IP:
		snprintf(buf, size, "IPv4 or IPv6 address of a host");
		break;
	case XV_TYPE_INTERFACE:
		snprintf(buf, size, "address/length of a host");
		break;
	case XV_TYPE_IPS:
		snprintf(buf, size, "list of addresses");
		break;
	case XV_TYPE_ENTRIES:
		snprintf(buf, size, "list of %ss", key->entry);
		break;
	}
	return buf;
}

int xv_parse_number(const char *text, bool suffix, int64_t *value)
{
	int64_t scale = 1;
	long long v;
	char *end;

	/* strtoll would also take leading blanks and signs of its own. */
	if ((*text < '0' || *text > '9') && !(text[0] == '-' && text[1] >= '0' && text[1] <= '9'))
		return -EINVAL;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno == ERANGE)
		return -ERANGE;
	if (suffix && *end != '\0') {
		scale = *end == 'k' ? 1000 : *end == 'M' ? 1000000 : *end == 'G' ? 1000000000 : 0;
		if (scale == 0)
			return -EINVAL;
		end++;
	}
	if (*end != '\0')
		return -EINVAL;
	if (__builtin_mul_overflow(v, scale, value))
		return -ERANGE;
	return 0;
}

int xv_parse_bool(const char *text, bool *value)
{
	static const char *const no_yes[] = {"false", "true", "no", "yes", "off", "on"};

	for (unsigned int i = 0; i < 6; i++) {
		if (strcmp(text, no_yes[i]) == 0) {
			*value = i & 1;
			return 0;
		}
	}
	return -EINVAL;
}

/* Levenshtein; words of our tables are short. */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[64], la = (unsigned int)strlen(a), lb = (unsigned int)strlen(b);

	if (la >= 64 || lb >= 64)
		return 64;
	for (unsigned int j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned int i = 1; i <= la; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (unsigned int j = 1; j <= lb; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

void xv_nearest_init(struct xv_nearest *nearest, const char *word)
{
	/* A third of the letters may be wrong, at least one. */
	*nearest =
		(struct xv_nearest){.word = word, .distance = (unsigned int)strlen(word) / 3 + 2};
}

void xv_nearest_feed(struct xv_nearest *nearest, const char *candidate)
{
	unsigned int d = edit_distance(nearest->word, candidate);

	if (d < nearest->distance) {
		nearest->distance = d;
		nearest->best = candidate;
	}
}
