/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of the OVS datapath: the input is what one connection sends. Its first byte says how: as bytes of the stream, or as
 * messages (type, length / 8, body) that get a header. Whatever comes, each answer is a message, and the server goes on; when the
 * connection is gone and the server with it, so are datapaths, ports and flows. Ports have no devices here.
 */
#include "fuzz.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/host.h"
#include "control/model.h"
#include "control/txn.h"
#include "fastpath/flow.h"
#include "fastpath/worker.h"
#include "ovs/datapath.h"
#include "ovs/server.h"
#include "port/eal.h"
#include "table/rcu.h"

#define TURNS 8 /* of the event loop, for what takes time */

static struct event_base *base;
static struct xv_host *host;
static struct xv_worker *worker;
static char path[64];

int __wrap_xv_txn_set_dynamic_ports(struct xv_host *h, json_t *ports, struct xv_err *err);
int __real_xv_txn_set_dynamic_ports(struct xv_host *h, json_t *ports, struct xv_err *err);

/* The input is not to open devices and sockets of this machine. */
int __wrap_xv_txn_set_dynamic_ports(struct xv_host *h, json_t *ports, struct xv_err *err)
{
	json_t *port;
	const char *name;

	json_object_foreach (ports, name, port)
		if (strcmp(json_string_value(json_object_get(port, "kind")), "tunnel") != 0)
			json_object_set_new(port, "kind", json_string("dummy"));
	return __real_xv_txn_set_dynamic_ports(h, ports, err);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char host_file[] = "daemon: {log_level: error}\n";
	struct xv_eal_config config = {.memory_mb = 64};
	json_t *model, *changes;
	cpu_set_t cpus;

	xv_log_set_level(XV_LOG_ERROR);
	xv_clock_init(0);
	FUZZ_CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
	base = event_base_new();
	FUZZ_CHECK(base != NULL && xv_eal_init(&config, NULL) == 0 && xv_rcu_init() == 0 && xv_flows_init() == 0);
	FUZZ_CHECK(xv_worker_create("fuzz", -1, true, &worker, NULL) == 0);
	FUZZ_CHECK(xv_host_create(base, &cpus, &host) == 0);
	FUZZ_CHECK(xv_model_parse(host_file, strlen(host_file), &cpus, &model, NULL, NULL) == 0);
	/* The worker is ours, and runs when it is told to. */
	json_object_clear(json_object_get(model, "worker"));
	FUZZ_CHECK(xv_txn_apply(host, model, NULL, false, &changes, NULL) == 0);
	json_decref(changes);
	snprintf(path, sizeof(path), "/tmp/xvio-fuzz-ovs.%d", getpid());
	return 0;
}

static void turn(void)
{
	unsigned int i;

	for (i = 0; i < TURNS; i++) {
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		(void)xv_worker_run_once(worker);
		(void)xv_host_poll_flows(host);
	}
}

/* Answers that have come are messages. Returns bytes that are left of one that is not complete. */
static size_t check_answers(int fd, uint8_t *buf, size_t size, size_t have)
{
	ssize_t n;

	while ((n = recv(fd, buf + have, size - have, MSG_DONTWAIT)) > 0) {
		size_t at = 0;

		have += (size_t)n;
		while (have - at >= sizeof(struct xv_ovs_header)) {
			struct xv_ovs_header h;
			uint32_t item_at = 0;
			bool broken = false;

			memcpy(&h, buf + at, sizeof(h));
			FUZZ_CHECK(h.len >= sizeof(h) && h.len % 8 == 0 && h.len <= size);
			if (have - at < h.len)
				break;
			while (xv_ovs_next(buf + at + sizeof(h), h.len - (uint32_t)sizeof(h), &item_at, &broken) != NULL)
				;
			FUZZ_CHECK(!broken && h.error < 4096);
			at += h.len;
		}
		have -= at;
		memmove(buf, buf + at, have);
	}
	return have;
}

static void send_all(int fd, const void *data, size_t len)
{
	(void)send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A message at the input; bytes that it took. */
static size_t send_message(int fd, const uint8_t *data, size_t size)
{
	struct xv_ovs_header h = {.type = data[0], .seq = 1};
	size_t len = size > 1 ? 8u * data[1] : 0;

	if (size < 2)
		return size;
	len = len < size - 2 ? len : (size - 2) / 8 * 8;
	h.len = (uint32_t)(sizeof(h) + len);
	send_all(fd, &h, sizeof(h));
	send_all(fd, data + 2, len);
	return 2 + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buf[4 << 20] __attribute__((aligned(8)));
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct xv_ovs_server *server;
	size_t at = 1, have = 0;
	int fd;

	if (size == 0)
		return 0;
	FUZZ_CHECK(xv_ovs_server_create(path, host, &server, NULL) == 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	memcpy(address.sun_path, path, sizeof(path));
	FUZZ_CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	turn();
	while (at < size) {
		size_t n = size - at;

		if ((data[0] & 1) != 0) {
			n = send_message(fd, data + at, n);
		} else {
			n = n < data[0] / 2 + 1u ? n : data[0] / 2 + 1u; /* in pieces */
			send_all(fd, data + at, n);
		}
		at += n;
		turn();
		have = check_answers(fd, buf, sizeof(buf), have);
	}
	(void)close(fd);
	turn();
	xv_ovs_server_destroy(server);
	turn();
	FUZZ_CHECK(xv_ovs_datapath_first() == NULL && json_object_size(json_object_get(host->model, "dynamic")) == 0);
	FUZZ_CHECK(xv_flows_count() == 0);
	return 0;
}
