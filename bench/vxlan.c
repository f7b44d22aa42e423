/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other host: a port with vxlan=VNI is what lies behind the uplink of the system under test.
 * Its frames are VXLAN (RFC 7348) over IPv4, from 192.0.2.2 to the system's 192.0.2.1. The outer
 * header of what comes in is taken off without a look, as the rest of the load must be fast; it
 * still lies in front of the frame then, where vxlan_verify() finds it.
 */
#include <string.h>

#include <rte_arp.h>

#include "load.h"

#define OUR_ADDR   RTE_IPV4(192, 0, 2, 2)
#define VTEP_ADDR  RTE_IPV4(192, 0, 2, 1)
#define VXLAN_PORT 4789
#define VXLAN_VNI  RTE_BE32(0x08000000) /* flags: the VNI is valid */

/* A neighbour of the VTEP, and not the machine whose frames come through the tunnel. */
static struct rte_ether_addr our_mac(const struct port *p)
{
	struct rte_ether_addr mac = p->mac;

	mac.addr_bytes[3] = 1;
	return mac;
}

static uint16_t ip_sum(const struct vxlan_outer *o)
{
	struct rte_ipv4_hdr ip = o->ip;

	ip.hdr_checksum = 0;
	return rte_ipv4_cksum(&ip);
}

/* What all packets of the port begin with; lengths, checksum and UDP port are filled in per packet.
 */
static void outer_init(struct port *p, const struct rte_ether_addr *vtep_mac)
{
	struct vxlan_outer *o = &p->outer;

	memset(o, 0, sizeof(*o));
	o->eth.dst_addr = *vtep_mac;
	o->eth.src_addr = our_mac(p);
	o->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	o->ip.version_ihl = RTE_IPV4_VHL_DEF;
	o->ip.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
	o->ip.time_to_live = 64;
	o->ip.next_proto_id = IPPROTO_UDP;
	o->ip.src_addr = RTE_BE32(OUR_ADDR);
	o->ip.dst_addr = RTE_BE32(VTEP_ADDR);
	o->udp.dst_port = RTE_BE16(VXLAN_PORT);
	o->vxlan.vx_flags = VXLAN_VNI;
	o->vxlan.vx_vni = rte_cpu_to_be_32(p->vni << 8);
	p->outer_sum = (uint16_t)~rte_be_to_cpu_16(ip_sum(o));
}

bool vxlan_verify(const struct port *p, const struct rte_mbuf *m)
{
	const struct vxlan_outer *o =
		rte_pktmbuf_mtod_offset(m, const struct vxlan_outer *, -(int)sizeof(*o));
	uint32_t len = m->pkt_len + sizeof(*o) - sizeof(o->eth);
	struct rte_ether_addr mac = our_mac(p);

	/* RFC 7348 section 5: the UDP checksum should be 0; RFC 6335: a dynamic port should tell
	 * the flow. */
	return rte_is_same_ether_addr(&o->eth.dst_addr, &mac) &&
	       rte_is_same_ether_addr(&o->eth.src_addr, &p->outer.eth.dst_addr) &&
	       o->eth.ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) &&
	       o->ip.version_ihl == RTE_IPV4_VHL_DEF &&
	       o->ip.total_length == rte_cpu_to_be_16(len) &&
	       (o->ip.fragment_offset &
		RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) == 0 &&
	       o->ip.time_to_live > 0 && o->ip.next_proto_id == IPPROTO_UDP &&
	       o->ip.hdr_checksum == ip_sum(o) && o->ip.src_addr == RTE_BE32(VTEP_ADDR) &&
	       o->ip.dst_addr == RTE_BE32(OUR_ADDR) && rte_be_to_cpu_16(o->udp.src_port) >= 32768 &&
	       o->udp.dst_port == RTE_BE16(VXLAN_PORT) &&
	       o->udp.dgram_len == rte_cpu_to_be_16(len - sizeof(o->ip)) &&
	       o->udp.dgram_cksum == 0 && o->vxlan.vx_flags == VXLAN_VNI &&
	       o->vxlan.vx_vni == rte_cpu_to_be_32(p->vni << 8);
}

/* ---- ARP (RFC 826) ---- */

struct __rte_packed __rte_aligned(2) arp_frame
{
	struct rte_ether_hdr eth;
	struct rte_arp_hdr arp;
};

static void arp_send(const struct port *p, uint16_t op, const struct rte_ether_addr *to,
		     rte_be32_t target)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(p->pool);
	struct arp_frame *f;

	if (m == NULL)
		return;
	f = (struct arp_frame *)rte_pktmbuf_append(m, RTE_ETHER_MIN_LEN - RTE_ETHER_CRC_LEN);
	memset(f, 0, RTE_ETHER_MIN_LEN - RTE_ETHER_CRC_LEN);
	f->eth.dst_addr = *to;
	f->eth.src_addr = our_mac(p);
	f->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_ARP);
	f->arp.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER);
	f->arp.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	f->arp.arp_hlen = RTE_ETHER_ADDR_LEN;
	f->arp.arp_plen = 4;
	f->arp.arp_opcode = rte_cpu_to_be_16(op);
	f->arp.arp_data.arp_sha = our_mac(p);
	f->arp.arp_data.arp_sip = RTE_BE32(OUR_ADDR);
	if (op == RTE_ARP_OP_REPLY)
		f->arp.arp_data.arp_tha = *to;
	f->arp.arp_data.arp_tip = target;
	if (rte_eth_tx_burst(p->id, 0, &m, 1) != 1)
		rte_pktmbuf_free(m);
}

/* What is no tunnel packet: somebody asks for our address, or tells the VTEP's. */
static void control_receive(const struct port *p, const struct rte_mbuf *m,
			    struct rte_ether_addr *vtep_mac)
{
	const struct arp_frame *f = rte_pktmbuf_mtod(m, const struct arp_frame *);

	if (m->data_len < sizeof(*f) || f->eth.ether_type != RTE_BE16(RTE_ETHER_TYPE_ARP) ||
	    f->arp.arp_data.arp_sip != RTE_BE32(VTEP_ADDR))
		return;
	*vtep_mac = f->arp.arp_data.arp_sha;
	if (f->arp.arp_opcode == RTE_BE16(RTE_ARP_OP_REQUEST) &&
	    f->arp.arp_data.arp_tip == RTE_BE32(OUR_ADDR))
		arp_send(p, RTE_ARP_OP_REPLY, &f->arp.arp_data.arp_sha, RTE_BE32(VTEP_ADDR));
}

uint16_t vxlan_receive(const struct port *p, struct rte_mbuf **m, uint16_t n)
{
	struct rte_ether_addr ignored;
	uint16_t i, kept = 0;

	for (i = 0; i < n; i++) {
		/* Told by its length: nothing here waits for the bytes to come from another CPU. */
		if (unlikely(m[i]->data_len < sizeof(struct vxlan_outer) + FRAME_MIN)) {
			control_receive(p, m[i], &ignored);
			rte_pktmbuf_free(m[i]);
			continue;
		}
		m[kept] = m[i];
		rte_pktmbuf_adj(m[kept++], sizeof(struct vxlan_outer));
	}
	return kept;
}

void vxlan_meet(struct port *p, double timeout_s)
{
	static const struct rte_ether_addr everybody = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	uint64_t hz = rte_get_tsc_hz(), begin = rte_rdtsc(), asked = 0, known = 0, now;
	struct rte_ether_addr vtep_mac = {{0}};
	struct rte_mbuf *m[MAX_BURST];

	/* The VTEP, too, needs to know us before the first packet: we ask, announce ourselves, and
	 * leave it a while to ask. */
	while ((now = rte_rdtsc()) - begin < timeout_s * hz && !load_stop) {
		uint16_t i, n = rte_eth_rx_burst(p->id, 0, m, MAX_BURST);

		for (i = 0; i < n; i++)
			control_receive(p, m[i], &vtep_mac);
		rte_pktmbuf_free_bulk(m, n);
		if (known == 0 && !rte_is_zero_ether_addr(&vtep_mac)) {
			known = now;
			arp_send(p, RTE_ARP_OP_REPLY, &everybody, RTE_BE32(OUR_ADDR));
		}
		if (known != 0 && now - known > hz / 5) {
			outer_init(p, &vtep_mac);
			return;
		}
		if (known == 0 && now - asked > hz / 20) {
			arp_send(p, RTE_ARP_OP_REQUEST, &everybody, RTE_BE32(VTEP_ADDR));
			asked = now;
		}
	}
	rte_exit(EXIT_FAILURE, "xvio-load: 192.0.2.1 does not answer ARP at %s\n", p->socket);
}
