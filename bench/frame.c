/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: Ethernet, IPv4, UDP (or TCP), a tag, and a payload that follows from the tag. */
#include <string.h>

#include "load.h"

/* Payloads are slices of this, taken at a place that depends on the tag: making and checking a
 * frame are one copy and one compare. */
#define PATTERN_MASK 0xffff
static uint8_t pattern[PATTERN_MASK + 1 + FRAME_TSO_MAX];

union any_hdr {
	struct frame_hdr udp;
	struct frame_tso_hdr tcp;
};
static uint16_t tso, hdr_len, tag_at;

void frame_init(uint16_t with_tso)
{
	tso = with_tso;
	hdr_len = tso ? sizeof(struct frame_tso_hdr) : sizeof(struct frame_hdr);
	tag_at = tso ? offsetof(struct frame_tso_hdr, tag) : offsetof(struct frame_hdr, tag);
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = load_random();
}

static const uint8_t *frame_payload(const struct frame_tag *tag)
{
	return pattern +
	       ((tag->seq * 37 + tag->src_port * 7919 + tag->src_queue * 101) & PATTERN_MASK);
}

static void frame_header(struct frame_hdr *h, const struct port *src, const struct port *dst,
			 const struct frame_tag *tag, uint32_t flow, uint16_t len)
{
	memset(h, 0, hdr_len);
	h->eth.dst_addr = dst->mac;
	h->eth.src_addr = src->mac;
	h->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	h->ip.version_ihl = RTE_IPV4_VHL_DEF;
	h->ip.total_length = rte_cpu_to_be_16(len - sizeof(h->eth));
	h->ip.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
	h->ip.time_to_live = 64;
	h->ip.next_proto_id = tso ? IPPROTO_TCP : IPPROTO_UDP;
	if (src->answers) {
		h->ip.src_addr = rte_cpu_to_be_32(FLOW_ADDR(src->index));
		h->ip.dst_addr = rte_cpu_to_be_32(FLOW_ADDR(dst->index) + flow / FLOWS_PER_ADDR);
		h->udp.src_port = RTE_BE16(9);
		h->udp.dst_port = rte_cpu_to_be_16(FLOW_UDP_PORT + flow % FLOWS_PER_ADDR);
	} else {
		h->ip.src_addr = rte_cpu_to_be_32(FLOW_ADDR(src->index) + flow / FLOWS_PER_ADDR);
		h->ip.dst_addr = rte_cpu_to_be_32(FLOW_ADDR(dst->index));
		h->udp.src_port = rte_cpu_to_be_16(FLOW_UDP_PORT + flow % FLOWS_PER_ADDR);
		h->udp.dst_port = RTE_BE16(9);
	}
	h->ip.hdr_checksum = rte_ipv4_cksum(&h->ip);
	memcpy((uint8_t *)h + tag_at, tag, sizeof(*tag));
	if (tso) {
		struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)&h->udp;

		tcp->data_off = sizeof(*tcp) / 4 << 4;
		tcp->tcp_flags = RTE_TCP_ACK_FLAG;
		return;
	}
	h->udp.dgram_len = rte_cpu_to_be_16(len - sizeof(h->eth) - sizeof(h->ip));
}

static uint32_t frame_flow(const struct port *src, const struct frame_tag *tag)
{
	return flow_number(src, tag->src_queue, tag->seq % src->flows);
}

/* The flow that the addresses say; one of the port's, whatever they say. */
static uint32_t frame_flow_read(const struct rte_mbuf *m, const struct port *src,
				const struct port *dst)
{
	struct frame_hdr copy;
	const struct frame_hdr *h = rte_pktmbuf_read(m, 0, sizeof(copy), &copy);
	const struct port *client = src->answers ? dst : src;
	rte_be32_t addr = src->answers ? h->ip.dst_addr : h->ip.src_addr;
	rte_be16_t port = src->answers ? h->udp.dst_port : h->udp.src_port;
	uint32_t f = (rte_be_to_cpu_32(addr) - FLOW_ADDR(client->index)) * FLOWS_PER_ADDR +
		     (uint16_t)(rte_be_to_cpu_16(port) - FLOW_UDP_PORT);

	return f % (src->flows * src->queues);
}

void flow_writer_init(struct flow_writer *w, const struct port *src, const struct port *dst)
{
	struct frame_tag tag = {0};
	union any_hdr any;
	struct frame_hdr h;
	uint16_t words[sizeof(h.ip) / 2];

	frame_header(&any.udp, src, dst, &tag, 0, 0);
	h = any.udp;
	h.ip.total_length = h.ip.hdr_checksum = 0;
	if (src->answers)
		h.ip.dst_addr = 0;
	else
		h.ip.src_addr = 0;
	w->addr_at = src->answers ? offsetof(struct frame_hdr, ip.dst_addr) :
				    offsetof(struct frame_hdr, ip.src_addr);
	w->port_at = src->answers ? offsetof(struct frame_hdr, udp.dst_port) :
				    offsetof(struct frame_hdr, udp.src_port);
	memcpy(words, &h.ip, sizeof(words));
	w->addr = FLOW_ADDR(src->answers ? dst->index : src->index);
	w->sum = 0;
	for (size_t i = 0; i < RTE_DIM(words); i++)
		w->sum += rte_be_to_cpu_16(words[i]);
}

struct rte_mbuf *frame_create(const struct port *src, const struct port *dst, uint16_t queue,
			      uint32_t magic, uint64_t seq, uint16_t len, uint16_t nsegs)
{
	static uint8_t scratch[FRAME_TSO_MAX];
	struct frame_tag tag = {magic, src->index, queue, seq};
	uint16_t room = rte_pktmbuf_data_room_size(src->pool) - RTE_PKTMBUF_HEADROOM;
	struct rte_mbuf *head = rte_pktmbuf_alloc(src->pool);
	struct rte_mbuf *tail = head;
	uint16_t need = (len + room - 1) / room;
	uint16_t left = len;
	uint8_t *data;

	if (head == NULL)
		return NULL;
	nsegs = RTE_MAX(nsegs, need);
	data = nsegs == 1 ? rte_pktmbuf_mtod(head, uint8_t *) : scratch;
	frame_header((struct frame_hdr *)data, src, dst, &tag, frame_flow(src, &tag), len);
	memcpy(data + hdr_len, frame_payload(&tag), len - hdr_len);
	head->pkt_len = len;
	if (tso)
		frame_tso_set(head, tso);
	if (nsegs == 1) {
		head->data_len = len;
		return head;
	}
	for (uint16_t i = nsegs;;) {
		/* leave at least 1 and at most room bytes for each of the i - 1 that follow */
		uint32_t most = RTE_MIN(left - (i - 1), room);
		int32_t least = RTE_MAX(left - (i - 1) * room, 1);
		uint16_t n = least + load_random() % (most - least + 1);

		memcpy(rte_pktmbuf_mtod(tail, void *), scratch + len - left, n);
		tail->data_len = n;
		left -= n;
		if (--i == 0)
			return head;
		tail->next = rte_pktmbuf_alloc(src->pool);
		if (tail->next == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		tail = tail->next;
		head->nb_segs++;
	}
}

bool frame_tag_read(const struct rte_mbuf *m, struct frame_tag *tag)
{
	const void *p = rte_pktmbuf_read(m, tag_at, sizeof(*tag), tag);

	if (p == NULL)
		return false;
	if (p != tag)
		memcpy(tag, p, sizeof(*tag));
	return true;
}

bool frame_verify(const struct rte_mbuf *m, const struct port *src, const struct port *dst,
		  const struct frame_tag *tag, bool any_flow)
{
	const uint8_t *payload = frame_payload(tag);
	uint32_t off = 0, len = m->pkt_len, flow;
	union any_hdr h;

	if (len < hdr_len || len > (tso ? FRAME_TSO_MAX : FRAME_MAX) || (tso && m->data_len < hdr_len))
		return false;
	flow = any_flow ? frame_flow_read(m, src, dst) : frame_flow(src, tag);
	frame_header(&h.udp, src, dst, tag, flow, len);
	if (tso) /* whoever is on the way may finish the checksum that we left to be done */
		memcpy(&h.tcp.tcp.cksum, rte_pktmbuf_mtod_offset(m, void *, offsetof(struct frame_tso_hdr, tcp.cksum)),
		       sizeof(h.tcp.tcp.cksum));
	for (; m != NULL; m = m->next) {
		const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
		uint32_t n = m->data_len;

		if (off + n > len)
			return false;
		if (off < hdr_len) {
			uint32_t hn = RTE_MIN(n, (uint32_t)hdr_len - off);

			if (memcmp(p, (const uint8_t *)&h + off, hn) != 0)
				return false;
			p += hn;
			n -= hn;
			off += hn;
		}
		if (n > 0 && memcmp(p, payload + off - hdr_len, n) != 0)
			return false;
		off += n;
	}
	return off == len;
}
