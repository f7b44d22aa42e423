/* SPDX-License-Identifier: Apache-2.0 */
#include "control/gateways.h"
#include "control/metrics.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/host.h"
#include "control/rule_counts.h"
#include "control/unix_socket.h"
#include "fastpath/conntrack.h"
#include "fastpath/flow.h"
#include "fastpath/fused.h"
#include "fastpath/ledger.h"
#include "fastpath/rule_hits.h"
#include "table/mac_table.h"

#define MAX_CLIENTS      16
#define CLIENT_TIMEOUT_S 10
#define CONTENT_TYPE     "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct xv_metrics {
	const struct xv_host *host;
	struct MHD_Daemon *http;
	struct event *event;
	struct xv_unix_socket unix_socket; /* path "" = TCP */
};

/* Names of objects need no escapes: the schema allows letters, digits and . _ - */

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# TYPE xvio_%s %s\n# HELP xvio_%s %s.\n", name, type, name, help);
}

static void write_ports(FILE *f, const struct xv_host *host)
{
	static const struct {
		const char *name, *help;
		size_t offset;
		bool counter;
	} cells[] = {
#define CELL(member, help, counter) {#member, help, offsetof(struct xv_ledger, member), counter}
		CELL(rx_packets, "Packets taken in from the port", true),
		CELL(rx_bytes, "Bytes taken in from the port", true),
		CELL(tx_packets, "Packets sent out of the port", true),
		CELL(tx_bytes, "Bytes sent out of the port", true),
		CELL(copies, "Packets added by flooding, segmentation, fragmenting and answers, by input port", true),
		CELL(forwarded, "Packets sent out of another port, by input port", true),
		CELL(punts, "Packets handed to a slow path, by input port", true),
		CELL(held, "Packets that wait for room in an output queue, by input port", false),
		CELL(answers, "ICMP errors sent back to the port", true),
		CELL(answers_limited, "ICMP errors not sent back to the port, because there were too many", true),
#undef CELL
	};
	const struct xv_host_port *port;
	struct xv_ledger *ledgers;
	uint64_t value;

	ledgers = calloc(XV_MAX_PORTS, sizeof(*ledgers));
	if (ledgers == NULL)
		return;
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (host->ports[i] != NULL)
			xv_ledger_read(host->ports[i]->port, &ledgers[i]);
	}
	for (unsigned int c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
		char name[32];

		snprintf(name, sizeof(name), "port_%s", cells[c].name);
		family(f, name, cells[c].counter ? "counter" : "gauge", cells[c].help);
		for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
			port = host->ports[i];
			if (port == NULL)
				continue;
			memcpy(&value, (const char *)&ledgers[i] + cells[c].offset, sizeof(value));
			fprintf(f, "xvio_%s%s{port=\"%s\"} %llu\n", name,
				cells[c].counter ? "_total" : "", port->port->name,
				(unsigned long long)value);
		}
	}
	family(f, "port_drops", "counter", "Packets dropped, by input port and reason");
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		for (unsigned int d = 0; host->ports[i] != NULL && d < XV_DROP_MAX; d++)
			fprintf(f, "xvio_port_drops_total{port=\"%s\",reason=\"%s\"} %llu\n",
				host->ports[i]->port->name, xv_drop_info[d].name,
				(unsigned long long)ledgers[i].drops[d]);
	}
	free(ledgers);
}

static void write_port_states(FILE *f, const struct xv_host *host)
{
	struct xv_port_info *infos;

	infos = calloc(XV_MAX_PORTS, sizeof(*infos));
	if (infos == NULL)
		return;
	for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {
		if (host->ports[i] != NULL)
			host->ports[i]->port->ops->info(host->ports[i]->port, &infos[i]);
	}
#define EACH_PORT(metric, type, help, suffix, value)                                               \
	do {                                                                                       \
		family(f, metric, type, help);                                                     \
		for (unsigned int i = 0; i < XV_MAX_PORTS; i++) {                                  \
			if (host->ports[i] != NULL)                                                \
				fprintf(f, "xvio_" metric suffix "{port=\"%s\"} %llu\n",           \
					host->ports[i]->port->name, (unsigned long long)(value));  \
		}                                                                                  \
	} while (0)
	EACH_PORT("port_up", "gauge", "Whether the port can carry packets", "",
		  infos[i].state == XV_PORT_UP);
	EACH_PORT("port_queues_active", "gauge", "Queue pairs that can carry packets", "",
		  infos[i].queues_active);
	EACH_PORT("port_connects", "counter", "Connections of the front end", "_total",
		  infos[i].connects);
	EACH_PORT("port_disconnects", "counter", "Lost connections of the front end", "_total",
		  infos[i].disconnects);
	EACH_PORT("port_broken", "counter", "Times that the guest or front end broke the rules",
		  "_total", infos[i].broken_total);
#undef EACH_PORT
	free(infos);
}

static void write_workers(FILE *f, const struct xv_host *host)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} cells[] = {
#define CELL(name, member, help) {name, help, offsetof(struct xv_worker_stats, member)}
		CELL("worker_cycles", cycles_total, "TSC cycles since the worker started"),
		CELL("worker_busy_cycles", cycles_busy, "TSC cycles of rounds that moved packets"),
		CELL("worker_sleeps", sleeps, "Times that the worker went to sleep"),
		CELL("worker_wakeups", wakeups, "Times that the worker was woken"),
		CELL("worker_bursts", bursts, "Bursts of packets handled"),
		CELL("worker_packets", packets, "Packets handled"),
#undef CELL
	};
	struct xv_worker_stats stats;
	uint64_t value;

	for (unsigned int c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
		family(f, cells[c].name, "counter", cells[c].help);
		for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
			if (host->workers[i] == NULL)
				continue;
			xv_worker_get_stats(host->workers[i]->worker, &stats);
			memcpy(&value, (const char *)&stats + cells[c].offset, sizeof(value));
			fprintf(f, "xvio_%s_total{worker=\"%s\"} %llu\n", cells[c].name,
				xv_worker_name(host->workers[i]->worker),
				(unsigned long long)value);
		}
	}
}

static void write_flows(FILE *f, const struct xv_host *host)
{
	static const struct {
		const char *name, *help;
		size_t offset;
		bool counter;
		bool wide; /* 64 bits */
	} cells[] = {
#define CELL(name, member, help, counter)                                                          \
	{name, help, offsetof(struct xv_fused_stats, member), counter,                             \
	 sizeof(((struct xv_fused_stats *)0)->member) == 8}
		CELL("worker_fused_flows", entries, "Fused flows in the worker's cache", false),
		CELL("worker_fused_trails", trails, "Rows of flows that fused flows stand for", false),
		CELL("worker_fused_hits", hits, "Packets that a fused flow decided", true),
		CELL("worker_fused_misses", misses, "Packets that were looked up flow by flow", true),
		CELL("worker_fused_inserted", inserted, "Fused flows made", true),
		CELL("worker_fused_evicted", evicted, "Fused flows that made room for others", true),
#undef CELL
	};
	struct xv_fused_stats stats;
	struct xv_cls_stats table;
	uint64_t value;
	uint32_t narrow;

	xv_classifier_stats(xv_flow_classifier, &table);
	family(f, "flows", "gauge", "Flows in the table");
	fprintf(f, "xvio_flows %u\n", xv_flows_count());
	family(f, "flow_masks", "gauge", "Different masks of flows");
	fprintf(f, "xvio_flow_masks %u\n", table.subtables);
	family(f, "flow_requests", "gauge", "Requests of workers that wait to become flows");
	fprintf(f, "xvio_flow_requests %u\n", xv_flows_requested());
	family(f, "flow_requests_refused", "counter", "Requests for flows refused, the port had its share");
	fprintf(f, "xvio_flow_requests_refused_total %llu\n", (unsigned long long)xv_flows_refused());
	family(f, "flow_lookups", "counter", "Look-ups in the table");
	fprintf(f, "xvio_flow_lookups_total %llu\n", (unsigned long long)table.lookups);
	family(f, "flow_lookup_hits", "counter", "Look-ups that found a flow");
	fprintf(f, "xvio_flow_lookup_hits_total %llu\n", (unsigned long long)table.hits);
	for (unsigned int c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
		family(f, cells[c].name, cells[c].counter ? "counter" : "gauge", cells[c].help);
		for (unsigned int i = 0; i < XV_MAX_WORKERS; i++) {
			if (host->workers[i] == NULL)
				continue;
			xv_fused_get_stats(xv_worker_fused(host->workers[i]->worker), &stats);
			memcpy(&value, (const char *)&stats + cells[c].offset, cells[c].wide ? sizeof(value) : 0);
			memcpy(&narrow, (const char *)&stats + cells[c].offset, sizeof(narrow));
			fprintf(f, "xvio_%s%s{worker=\"%s\"} %llu\n", cells[c].name,
				cells[c].counter ? "_total" : "",
				xv_worker_name(host->workers[i]->worker),
				(unsigned long long)(cells[c].wide ? value : narrow));
		}
	}
}

static void write_connections(FILE *f, const struct xv_host *host)
{
	const struct xv_host_network *n;
	struct xv_conntrack_stats s;
	uint32_t limit, in_zone;

	xv_conntrack_get_stats(xv_flow_conntrack, &s);
	family(f, "connections", "gauge", "Tracked connections, by network");
	TAILQ_FOREACH (n, &host->networks, entry) {
		xv_conntrack_get_zone(xv_flow_conntrack, n->zone, &limit, &in_zone);
		fprintf(f, "xvio_connections{network=\"%s\"} %u\n", n->network->name, in_zone);
	}
#define FAMILY(name, member, type, suffix, help)                                                   \
	family(f, name, type, help);                                                               \
	fprintf(f, "xvio_" name suffix " %llu\n", (unsigned long long)s.member)
	FAMILY("connections_half_open", half_open, "gauge", "", "Connections that nobody has answered yet");
	FAMILY("connections_inserted", inserted, "counter", "_total", "Connections stored");
	FAMILY("connections_expired", expired, "counter", "_total", "Connections whose time was over");
	FAMILY("connections_deleted", deleted, "counter", "_total", "Connections closed or flushed");
	FAMILY("connections_evicted", evicted, "counter", "_total", "Half-open connections that made room for others");
	FAMILY("connections_refused_full", refused_full, "counter", "_total", "Connections not stored, the table was full");
	FAMILY("connections_refused_zone", refused_zone, "counter", "_total", "Connections not stored, the zone was full");
	FAMILY("connections_invalid", invalid, "counter", "_total", "Packets of no connection that open none");
	FAMILY("connections_nat_exhausted", nat_exhausted, "counter", "_total",
	       "Connections for which translation found no free address or port");
	FAMILY("connections_memory_bytes", memory_bytes, "gauge", "", "Memory of the table of connections");
#undef FAMILY
}

/* A label's value may have anything but control characters. */
static void write_label(FILE *f, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', f);
		fputc(*text, f);
	}
}

/* Rules of one group or policy that have the same name are one series. */
static void write_rules_of(FILE *f, const struct xv_host *host, const char *metric, bool bytes, const char *type,
			   const char *name, const json_t *rules)
{
	json_t *sums = json_object(), *rule, *sum;
	const char *rule_name;
	uint64_t n[2];
	size_t i;

	for (i = 0; i <= json_array_size(rules); i++) {
		char number[24];

		rule = json_array_get(rules, i);
		rule_name = json_string_value(json_object_get(rule, "name"));
		snprintf(number, sizeof(number), "%zu", i + 1);
		if (rule == NULL && strcmp(type, "policy") != 0)
			break;
		if (rule_name == NULL)
			rule_name = rule != NULL ? number : "default";
		xv_rule_counter_read(xv_rule_counter_of(host->rule_counters, type, name, i), &n[0], &n[1]);
		sum = json_object_get(sums, rule_name);
		json_object_set_new(sums, rule_name, json_integer(json_integer_value(sum) + (json_int_t)n[bytes]));
	}
	json_object_foreach (sums, rule_name, sum) {
		fprintf(f, "xvio_%s_total{%s=\"%s\",rule=\"", metric, type, name);
		write_label(f, rule_name);
		fprintf(f, "\"} %llu\n", (unsigned long long)json_integer_value(sum));
	}
	json_decref(sums);
}

static void write_rules(FILE *f, const struct xv_host *host)
{
	static const char *const metrics[] = {"rule_packets", "rule_bytes"}, *const types[] = {"group", "policy"};
	const char *name;
	json_t *object;

	for (unsigned int m = 0; m < 2; m++) {
		family(f, metrics[m], "counter",
		       m == 0 ? "Packets that the rule has decided, or the connection that they are of"
			      : "Bytes that the rule has decided, or the connection that they are of");
		for (unsigned int t = 0; t < 2; t++) {
			json_object_foreach (json_object_get(host->model, types[t]), name, object)
				write_rules_of(f, host, metrics[m], m == 1, types[t], name, json_object_get(object, "rules"));
		}
	}
}

static void write_networks(FILE *f, const struct xv_host *host)
{
	const struct xv_host_network *n;

	family(f, "network_macs", "gauge", "Learned MAC addresses");
	TAILQ_FOREACH (n, &host->networks, entry)
		fprintf(f, "xvio_network_macs{network=\"%s\"} %u\n", n->network->name,
			xv_mac_table_count(n->network->macs));
	family(f, "network_macs_refused", "counter",
	       "MAC addresses not learned, the table was full");
	TAILQ_FOREACH (n, &host->networks, entry)
		fprintf(f, "xvio_network_macs_refused_total{network=\"%s\"} %llu\n",
			n->network->name,
			(unsigned long long)xv_mac_table_refused(n->network->macs));
}

struct backend_family {
	FILE *f;
	unsigned int which;
};

static void write_backend(const struct xv_backend_info *info, void *arg)
{
	static const char *const names[] = {"lb_backend_up", "lb_backend_connections_total", "lb_backend_checks_total",
					    "lb_backend_checks_failed_total"};
	const struct backend_family *family = arg;
	const uint64_t values[] = {info->usable, info->opened, info->asks, info->fails};
	bool v6 = strchr(info->address, ':') != NULL;

	fprintf(family->f, "xvio_%s{lb=\"%s\",backend=\"%s%s%s:%u\"} %llu\n", names[family->which], info->lb, v6 ? "[" : "",
		info->address, v6 ? "]" : "", info->port, (unsigned long long)values[family->which]);
}

static void write_load_balancers(FILE *f, const struct xv_host *host)
{
	static const struct {
		const char *name, *type, *help;
	} families[] = {{"lb_backend_up", "gauge", "Whether a backend gets new connections"},
			{"lb_backend_connections", "counter", "Connections that a backend was given"},
			{"lb_backend_checks", "counter", "Health checks"},
			{"lb_backend_checks_failed", "counter", "Health checks that nobody answered, or with a refusal"}};

	for (unsigned int i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		struct backend_family of = {.f = f, .which = i};

		family(f, families[i].name, families[i].type, families[i].help);
		xv_gateways_backends(host, write_backend, &of);
	}
}

/* The names that Prometheus's client libraries gave these, hence without our prefix. */
static void write_process(FILE *f)
{
	unsigned long long user = 0, system = 0, rss_pages = 0;
	double hz = (double)sysconf(_SC_CLK_TCK);
	FILE *stat = fopen("/proc/self/stat", "re");

	if (stat != NULL) {
		/* proc(5): utime is field 14, stime 15, rss 24 */
		if (fscanf(stat,
			   "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu "
			   "%*d %*d %*d %*d %*d %*d %*u %*u %llu",
			   &user, &system, &rss_pages) != 3)
			user = system = rss_pages = 0;
		fclose(stat);
	}
	fprintf(f,
		"# TYPE process_cpu_seconds counter\n# UNIT process_cpu_seconds seconds\n"
		"process_cpu_seconds_total %.2f\n",
		(double)(user + system) / hz);
	fprintf(f,
		"# TYPE process_resident_memory_bytes gauge\n"
		"# UNIT process_resident_memory_bytes bytes\n"
		"process_resident_memory_bytes %llu\n",
		rss_pages * (unsigned long long)sysconf(_SC_PAGESIZE));
}

char *xv_metrics_text(const struct xv_host *host)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (f == NULL)
		return NULL;
	fprintf(f, "# TYPE xvio_build info\nxvio_build_info{version=\"%s\"} 1\n", XVIO_VERSION);
	fprintf(f,
		"# TYPE xvio_uptime_seconds gauge\n# UNIT xvio_uptime_seconds seconds\n"
		"xvio_uptime_seconds %llu\n",
		(unsigned long long)(xv_clock_ns() - host->started_ns) / 1000000000);
	fprintf(f,
		"# TYPE xvio_tsc_hertz gauge\n# UNIT xvio_tsc_hertz hertz\nxvio_tsc_hertz %llu\n",
		(unsigned long long)xv_clock.hz);
	write_ports(f, host);
	write_port_states(f, host);
	write_workers(f, host);
	write_flows(f, host);
	write_rules(f, host);
	write_connections(f, host);
	write_networks(f, host);
	write_load_balancers(f, host);
	write_process(f);
	fprintf(f, "# EOF\n");
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned int status, char *text,
			     enum MHD_ResponseMemoryMode mode, const char *type)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, mode);
	enum MHD_Result rc;

	if (response == NULL) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	rc = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *body,
			      size_t *body_len, void **state)
{
	static char not_found[] = "not found; try /metrics\n", not_allowed[] = "only GET\n";
	struct xv_metrics *metrics = arg;
	static int seen;
	char *text;

	(void)version;
	(void)body;
	if (*state == NULL) { /* headers only so far: let a body come and go */
		*state = &seen;
		return MHD_YES;
	}
	if (*body_len > 0) {
		*body_len = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, not_allowed,
			     MHD_RESPMEM_PERSISTENT, "text/plain");
	if (strcmp(url, "/metrics") != 0 && strcmp(url, "/") != 0)
		return reply(connection, MHD_HTTP_NOT_FOUND, not_found, MHD_RESPMEM_PERSISTENT,
			     "text/plain");
	text = xv_metrics_text(metrics->host);
	if (text == NULL)
		return MHD_NO;
	return reply(connection, MHD_HTTP_OK, text, MHD_RESPMEM_MUST_FREE, CONTENT_TYPE);
}

static void ready(evutil_socket_t fd, short what, void *arg)
{
	struct xv_metrics *metrics = arg;

	(void)fd;
	(void)what;
	MHD_run(metrics->http);
}

void xv_metrics_tick(struct xv_metrics *metrics)
{
	MHD_run(metrics->http);
}

static int listen_tcp(const char *address, struct xv_err *err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
	const char *colon = strrchr(address, ':');
	struct addrinfo *info = NULL;
	char host[128];
	int fd, rc, one = 1;

	if (address[0] == '[' && colon > address + 1 && colon[-1] == ']')
		snprintf(host, sizeof(host), "%.*s", (int)(colon - address - 2), address + 1);
	else
		snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
	rc = getaddrinfo(host, colon + 1, &hints, &info);
	if (rc != 0)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "\"%s\" is not a numeric address: %s",
				  host, gai_strerror(rc));
	fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, MAX_CLIENTS) < 0) {
		rc = xv_err_set(err, -errno, errno == EADDRINUSE ? XV_ERR_BUSY : XV_ERR_DEVICE,
				"cannot listen on %s: %s", address, strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = rc;
	}
	freeaddrinfo(info);
	return fd;
}

int xv_metrics_create(struct xv_host *host, const char *address, struct xv_metrics **metricsp,
		      struct xv_err *err)
{
	const union MHD_DaemonInfo *info;
	struct xv_metrics *metrics;
	int fd, rc;

	*metricsp = NULL;
	if (strcmp(address, "off") == 0)
		return 0;
	metrics = calloc(1, sizeof(*metrics));
	if (metrics == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	metrics->host = host;
	if (strncmp(address, "unix:", 5) == 0) {
		rc = xv_unix_socket_listen(&metrics->unix_socket, address + 5, 0660, err);
		fd = metrics->unix_socket.fd;
	} else {
		rc = fd = listen_tcp(address, err);
	}
	if (rc < 0)
		goto err_free;

	/* On success the daemon owns fd. */
	metrics->http = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, handle, metrics,
					 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
					 (unsigned int)MAX_CLIENTS, MHD_OPTION_CONNECTION_TIMEOUT,
					 (unsigned int)CLIENT_TIMEOUT_S, MHD_OPTION_END);
	if (metrics->http == NULL) {
		rc = xv_err_set(err, -EIO, XV_ERR_DEVICE, "the HTTP server does not start");
		close(fd);
		goto err_socket;
	}
	info = MHD_get_daemon_info(metrics->http, MHD_DAEMON_INFO_EPOLL_FD);
	metrics->event =
		event_new(host->events, info->listen_fd, EV_READ | EV_PERSIST, ready, metrics);
	if (metrics->event == NULL || event_add(metrics->event, NULL) < 0) {
		rc = xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
		goto err_http;
	}
	*metricsp = metrics;
	return 0;

err_http:
	if (metrics->event != NULL)
		event_free(metrics->event);
	MHD_stop_daemon(metrics->http);
err_socket:
	metrics->unix_socket.fd = -1;
	xv_unix_socket_remove(&metrics->unix_socket);
err_free:
	free(metrics);
	return rc;
}

void xv_metrics_destroy(struct xv_metrics *metrics)
{
	if (metrics == NULL)
		return;
	event_free(metrics->event);
	MHD_stop_daemon(metrics->http); /* closes the socket */
	metrics->unix_socket.fd = -1;
	xv_unix_socket_remove(&metrics->unix_socket);
	free(metrics);
}
