/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection whose two ends are two of our ports: handshake with window scale, data from `client` to `server` with a
 * window in flight, an acknowledgement for each second segment, retransmission by three duplicates or by time (go back N, no
 * congestion control). New ones are opened beside it, and not used. Whoever tracks connections finds nothing to object to:
 * numbers, windows and checksums are right. Payload is zeros; of one segment in 64 every byte is checked.
 */
#include <string.h>

#include <rte_tcp.h>

#include "load.h"

#define PORT	    80
#define SCALE	    7
#define DATA_PORT   20000 /* of the client, for the one that talks; the others count up from there */
#define SAMPLE	    64
#define PATIENCE_MS 200 /* until data, or a SYN, is sent again */

struct __rte_packed __rte_aligned(2) segment
{
	struct rte_ether_hdr eth;
	struct rte_ipv4_hdr ip;
	struct rte_tcp_hdr tcp;
};

struct __rte_packed __rte_aligned(2) syn_segment
{
	struct segment s;
	uint8_t options[4]; /* window scale */
};

/* A new segment of a port to another, whole but for the checksum; payload as the buffer has it. */
static struct rte_mbuf *segment_new(const struct port *src, const struct port *dst, uint16_t sport, uint16_t dport, uint8_t flags,
				    uint32_t seq, uint32_t ack, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(src->pool);
	struct segment *s;

	if (m == NULL)
		return NULL;
	m->data_len = len;
	m->pkt_len = len;
	s = rte_pktmbuf_mtod(m, struct segment *);
	memset(s, 0, RTE_MIN((size_t)len, (size_t)64)); /* what frames received before have left */
	s->eth.dst_addr = dst->mac;
	s->eth.src_addr = src->mac;
	s->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	s->ip.version_ihl = RTE_IPV4_VHL_DEF;
	s->ip.total_length = rte_cpu_to_be_16(len - sizeof(s->eth));
	s->ip.time_to_live = 64;
	s->ip.next_proto_id = IPPROTO_TCP;
	s->ip.src_addr = rte_cpu_to_be_32(FLOW_ADDR(src->index));
	s->ip.dst_addr = rte_cpu_to_be_32(FLOW_ADDR(dst->index));
	s->ip.hdr_checksum = rte_ipv4_cksum(&s->ip);
	s->tcp.src_port = rte_cpu_to_be_16(sport);
	s->tcp.dst_port = rte_cpu_to_be_16(dport);
	s->tcp.sent_seq = rte_cpu_to_be_32(seq);
	s->tcp.recv_ack = rte_cpu_to_be_32(ack);
	s->tcp.tcp_flags = flags;
	s->tcp.rx_win = 0xffff;
	s->tcp.data_off = sizeof(s->tcp) / 4 << 4;
	return m;
}

/* Zeros add nothing to a checksum: that of the header, and a length that counts them. */
static void checksum_set(struct segment *s, uint16_t header_len)
{
	uint32_t sum = rte_ipv4_phdr_cksum(&s->ip, 0) + rte_raw_cksum(&s->tcp, header_len);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	s->tcp.cksum = (uint16_t)~sum;
}

static struct rte_mbuf *segment_make(const struct port *src, const struct port *dst, uint16_t sport, uint16_t dport, uint8_t flags,
				     uint32_t seq, uint32_t ack, uint16_t len)
{
	struct rte_mbuf *m = segment_new(src, dst, sport, dport, flags, seq, ack, len);

	if (m != NULL)
		checksum_set(rte_pktmbuf_mtod(m, struct segment *), sizeof(struct rte_tcp_hdr));
	return m;
}

static struct rte_mbuf *syn_make(const struct port *src, const struct port *dst, uint16_t sport, uint16_t dport, uint8_t flags,
				 uint32_t seq, uint32_t ack)
{
	static const uint8_t scale[4] = {3, 3, SCALE, 0}; /* RFC 7323 section 2.2; end of options */
	struct rte_mbuf *m = segment_new(src, dst, sport, dport, flags, seq, ack, sizeof(struct syn_segment));
	struct syn_segment *s;

	if (m == NULL)
		return NULL;
	s = rte_pktmbuf_mtod(m, struct syn_segment *);
	memcpy(s->options, scale, sizeof(scale));
	s->s.tcp.data_off = (sizeof(s->s.tcp) + sizeof(scale)) / 4 << 4;
	checksum_set(&s->s, sizeof(s->s.tcp) + sizeof(scale));
	return m;
}

static uint16_t send_all(const struct port *p, struct rte_mbuf **m, uint16_t n)
{
	uint16_t done = rte_eth_tx_burst(p->id, 0, m, n);

	rte_pktmbuf_free_bulk(m + done, n - done);
	return done;
}

static void send_one(const struct port *p, struct rte_mbuf *m)
{
	if (m != NULL)
		(void)send_all(p, &m, 1);
}

static const struct segment *segment_of(const struct rte_mbuf *m)
{
	const struct segment *s = rte_pktmbuf_mtod(m, const struct segment *);

	return m->data_len >= sizeof(*s) && s->eth.ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) &&
		       s->ip.next_proto_id == IPPROTO_TCP
		       ? s
		       : NULL;
}

/* ---- The server's end ---- */

static void data_check(struct talk *t, const struct rte_mbuf *m, const struct segment *s)
{
	if (++t->checked % SAMPLE == 0 &&
	    (m->data_len != t->len || rte_ipv4_udptcp_cksum(&s->ip, &s->tcp) != 0))
		t->corrupt++;
}

/* Takes what is there; an answer for each SYN, an acknowledgement for each second segment and for the last of the burst. */
static uint16_t server_turn(struct talk *t)
{
	struct rte_mbuf *in[MAX_BURST], *out[MAX_BURST];
	uint16_t n = rte_eth_rx_burst(t->server->id, 0, in, MAX_BURST), i, n_out = 0;
	bool owed = false;

	for (i = 0; i < n; i++) {
		const struct segment *s = segment_of(in[i]);
		uint16_t port = s != NULL ? rte_be_to_cpu_16(s->tcp.src_port) : 0;
		uint32_t seq = s != NULL ? rte_be_to_cpu_32(s->tcp.sent_seq) : 0;

		if (s == NULL)
			continue;
		if (s->tcp.tcp_flags == RTE_TCP_SYN_FLAG) {
			if (port == DATA_PORT)
				t->expected = seq + 1;
			send_one(t->server, syn_make(t->server, t->client, PORT, port, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG, 0, seq + 1));
			continue;
		}
		if (port != DATA_PORT || in[i]->data_len == sizeof(*s))
			continue;
		data_check(t, in[i], s);
		if (seq == t->expected) {
			t->expected += t->payload;
			t->received += t->payload;
			owed = !owed;
		} else {
			owed = true;
		}
		if (!owed || i + 1 == n) {
			out[n_out] = segment_make(t->server, t->client, PORT, DATA_PORT, RTE_TCP_ACK_FLAG, 1, t->expected, sizeof(*s));
			n_out += out[n_out] != NULL;
			owed = false;
		}
	}
	rte_pktmbuf_free_bulk(in, n);
	if (n_out > 0)
		(void)send_all(t->server, out, n_out);
	return n;
}

/* ---- The client's end ---- */

/* What is under way is sent again. Acknowledgements of it that were under way, too, are no reason to do so once more. */
static void go_back(struct talk *t)
{
	t->recover = t->next;
	t->resent += (t->next - t->una) / t->payload;
	t->next = t->una;
	t->duplicates = 0;
}

static void acknowledged(struct talk *t, uint32_t ack, uint64_t now)
{
	if ((int32_t)(ack - t->una) > 0) {
		t->una = ack;
		t->duplicates = 0;
		t->moved = now;
		if ((int32_t)(t->next - ack) < 0) /* what was sent before had arrived */
			t->next = ack;
	} else if (ack == t->una && t->next != t->una && (int32_t)(t->una - t->recover) >= 0 && ++t->duplicates == 3) {
		go_back(t);
	}
}

static uint16_t client_receive(struct talk *t, uint64_t now)
{
	struct rte_mbuf *in[MAX_BURST];
	uint16_t n = rte_eth_rx_burst(t->client->id, 0, in, MAX_BURST), i;

	for (i = 0; i < n; i++) {
		const struct segment *s = segment_of(in[i]);
		uint16_t port;

		if (s == NULL)
			continue;
		port = rte_be_to_cpu_16(s->tcp.dst_port);
		if ((s->tcp.tcp_flags & RTE_TCP_SYN_FLAG) != 0) {
			uint32_t ack = rte_be_to_cpu_32(s->tcp.recv_ack);

			send_one(t->client, segment_make(t->client, t->server, port, PORT, RTE_TCP_ACK_FLAG, ack, 1, sizeof(*s)));
			if (port == t->opening) {
				t->opening = 0;
				t->opened++;
				t->open_worst = RTE_MAX(t->open_worst, now - t->open_since);
			}
			continue;
		}
		if (port == DATA_PORT)
			acknowledged(t, rte_be_to_cpu_32(s->tcp.recv_ack), now);
	}
	rte_pktmbuf_free_bulk(in, n);
	return n;
}

static void syn_send(struct talk *t)
{
	send_one(t->client, syn_make(t->client, t->server, t->opening, PORT, RTE_TCP_SYN_FLAG, t->una - 1, 0));
}

/* As much as window, rate and one burst allow. */
static void client_send(struct talk *t, uint64_t now)
{
	struct rte_mbuf *m[MAX_BURST];
	/* The window of a SYN-ACK is not scaled (RFC 7323 section 2.2); what is acknowledged later is. */
	uint32_t window = t->una == t->first ? RTE_MIN(t->window, 0xffffu) : t->window, under_way = t->next - t->una;
	uint32_t room = window > under_way ? (window - under_way) / t->payload : 0;
	uint16_t n = 0, sent;

	if (t->pace != 0) { /* what was not sent in time is not caught up with */
		t->due = RTE_MAX(t->due, now - (now < t->burst_cycles ? now : t->burst_cycles));
		room = RTE_MIN(room, now < t->due ? 0 : (uint32_t)((now - t->due) / t->pace));
	}
	for (room = RTE_MIN(room, (uint32_t)t->burst); n < room; n++) {
		m[n] = segment_make(t->client, t->server, DATA_PORT, PORT, RTE_TCP_ACK_FLAG, t->next + n * t->payload, 1, t->len);
		if (m[n] == NULL)
			break;
	}
	if (n == 0)
		return;
	sent = send_all(t->client, m, n);
	t->next += sent * t->payload;
	t->due += sent * t->pace;
}

uint16_t talk_turn(struct talk *t, uint64_t now)
{
	uint16_t n = server_turn(t) + client_receive(t, now);

	if (t->opening != 0 && now - t->open_tried > t->patience) {
		t->open_tried = now;
		syn_send(t);
	}
	if (!t->established)
		return n;
	if (t->next == t->una) {
		t->moved = now;
	} else if (now - t->moved > t->patience) {
		go_back(t);
		t->moved = now;
	}
	client_send(t, now);
	return n;
}

void talk_open(struct talk *t, uint64_t now)
{
	t->opening = DATA_PORT + ++t->last_port;
	t->open_since = t->open_tried = now;
	syn_send(t);
}

bool talk_start(struct talk *t, const struct load *l, const struct port *client, const struct port *server)
{
	uint64_t hz = rte_get_tsc_hz(), begin = rte_rdtsc();

	*t = (struct talk){
		.client = client,
		.server = server,
		.len = RTE_MAX(l->size_min, (uint16_t)(sizeof(struct segment) + 8)),
		.burst = l->burst,
		.patience = hz * PATIENCE_MS / 1000,
		.pace = l->rate > 0 ? hz / l->rate : 0,
		.una = load_random(),
		.opening = DATA_PORT,
	};
	t->burst_cycles = t->burst * t->pace;
	t->payload = t->len - sizeof(struct segment);
	t->window = (l->window > 0 ? l->window : server->queue_size / 2) * t->payload;
	t->first = t->next = t->recover = t->una;
	t->open_since = t->open_tried = begin;
	syn_send(t);
	while (t->opening != 0 && rte_rdtsc() - begin < l->timeout_s * hz && !load_stop)
		(void)talk_turn(t, rte_rdtsc());
	t->established = t->opening == 0;
	t->opened = 0;
	t->open_worst = 0;
	return t->established;
}
