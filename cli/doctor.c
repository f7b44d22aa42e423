/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKET_MEMORY_MB 128 /* what xviod takes by default */

__attribute__((format(printf, 4, 5))) static void find(json_t *findings, const char *level,
						       const char *subject, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(findings, json_pack("{s:s, s:s, s:s}", "level", level, "subject",
						  subject, "text", text));
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* The first line of a small file; "" if there is none. */
static const char *read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");

	buf[0] = '\0';
	if (f != NULL) {
		if (fgets(buf, (int)size, f) == NULL)
			buf[0] = '\0';
		fclose(f);
	}
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

static void check_hugepages(json_t *findings)
{
	char line[64];
	long free_mb;

	free_mb = 2 * atol(read_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
				     line, sizeof(line)));
	free_mb +=
		1024 * atol(read_line("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages",
				      line, sizeof(line)));
	if (free_mb >= PACKET_MEMORY_MB)
		find(findings, "ok", "hugepages", "%ld MB are free", free_mb);
	else
		find(findings, "hint", "hugepages",
		     "%ld MB are free; with %d MB xviod has fewer TLB misses: "
		     "`sysctl vm.nr_hugepages=%d`, then restart xviod",
		     free_mb, PACKET_MEMORY_MB, PACKET_MEMORY_MB / 2);
}

/* Is `word` among the blank-separated words of line? */
static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = line; (p = strstr(p, word)) != NULL; p += n) {
		if ((p == line || p[-1] == ' ' || p[-1] == '\t') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	}
	return false;
}

static void check_cpu_flags(json_t *findings)
{
	static const struct {
		const char *flags[4], *what, *without;
	} wanted[] = {
		{{"avx512f", "avx512bw", "avx512vl", "avx512dq"},
		 "AVX-512",
		 "the rings are walked by plain code, which takes a few cycles more per packet"},
		{{"3dnowprefetch"},
		 "prefetchw",
		 "rings that a guest writes on another core cost more"},
		{{"constant_tsc", "nonstop_tsc"},
		 "an invariant TSC",
		 "cycle counters and rate limits drift with the clock frequency"},
	};
	char line[8192] = "";
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "flags", 5) == 0)
			break;
		line[0] = '\0';
	}
	if (f != NULL)
		fclose(f);
	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '\0')
		return; /* not x86 */
	for (unsigned int i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		bool all = true;

		for (unsigned int k = 0; k < 4 && wanted[i].flags[k] != NULL; k++)
			all &= has_word(line, wanted[i].flags[k]);
		if (all)
			find(findings, "ok", "cpu", "has %s", wanted[i].what);
		else
			find(findings, "hint", "cpu",
			     "has no %s: %s; choose another CPU (or, inside a "
			     "VM, pass the host's through)",
			     wanted[i].what, wanted[i].without);
	}
}

static void check_governor(json_t *findings)
{
	char path[100], line[64];
	unsigned int slow = 0, cpus = (unsigned int)sysconf(_SC_NPROCESSORS_CONF);

	for (unsigned int cpu = 0; cpu < cpus; cpu++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor", cpu);
		read_line(path, line, sizeof(line));
		slow += line[0] != '\0' && strcmp(line, "performance") != 0;
	}
	if (slow > 0)
		find(findings, "hint", "governor",
		     "%u CPUs may run below their clock frequency: `cpupower frequency-set -g "
		     "performance`",
		     slow);
	else
		find(findings, "ok", "governor", "no CPU is slowed down by a governor");
}

/* Is the CPU in a list such as "2-5,8"? */
static bool in_cpu_list(const char *list, long cpu)
{
	char *end;

	while (*list >= '0' && *list <= '9') {
		long first = strtol(list, &end, 10), last = first;

		if (*end == '-')
			last = strtol(end + 1, &end, 10);
		if (cpu >= first && cpu <= last)
			return true;
		list = *end == ',' ? end + 1 : end;
	}
	return false;
}

static void check_worker(json_t *findings, const json_t *worker)
{
	const json_t *cpu = json_object_get(worker, "cpu");
	char subject[80], isolated[256];

	snprintf(subject, sizeof(subject), "worker %s", text_of(worker, "name"));
	read_line("/sys/devices/system/cpu/isolated", isolated, sizeof(isolated));
	if (!json_is_integer(cpu))
		find(findings, "hint", subject,
		     "is not pinned: `xvioctl worker set %s cpu=N` spares it migrations between "
		     "CPUs",
		     text_of(worker, "name"));
	else if (!in_cpu_list(isolated, (long)json_integer_value(cpu)))
		find(findings, "hint", subject,
		     "shares CPU %lld with other work: isolcpus=%lld nohz_full=%lld on the "
		     "kernel's "
		     "command line keep it free",
		     (long long)json_integer_value(cpu), (long long)json_integer_value(cpu),
		     (long long)json_integer_value(cpu));
	else
		find(findings, "ok", subject, "has the isolated CPU %lld",
		     (long long)json_integer_value(cpu));
	if (json_number_value(json_object_get(worker, "busy")) > 0.9)
		find(findings, "hint", subject,
		     "is busy all the time: add another with `xvioctl worker add NAME cpu=N`");
}

/* A limit of process pid from /proc/PID/limits, hard value; -1 = unlimited or unknown. */
static long long limit_of(long long pid, const char *name)
{
	char path[64], line[256];
	long long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%lld/limits", pid);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, name, strlen(name)) == 0 &&
		    sscanf(line + strlen(name), "%*s %lld", &value) != 1)
			value = -1;
	}
	if (f != NULL)
		fclose(f);
	return value;
}

static void check_limits(json_t *findings, long long pid, const json_t *ports)
{
	long long files = limit_of(pid, "Max open files"), need = 128, memlock;
	bool pci = false;
	json_t *port;
	size_t i;

	json_array_foreach (ports, i, port) {
		need += 16 +
			4 * number_of(port, "queues"); /* regions of memory; kick and call, twice */
		pci |= strchr(text_of(port, "device"), ':') != NULL;
	}
	if (files >= 0 && files < need)
		find(findings, "problem", "limits",
		     "%lld open files are allowed, the ports may need %lld: LimitNOFILE= in the "
		     "unit, or "
		     "`ulimit -Hn`",
		     files, need);
	else
		find(findings, "ok", "limits", "open files suffice");
	memlock = limit_of(pid, "Max locked memory");
	if (pci && memlock >= 0 && memlock < (256LL << 20))
		find(findings, "problem", "limits",
		     "%lld MB may be locked, PCI devices need all packet memory locked: "
		     "LimitMEMLOCK=infinity in the unit",
		     memlock >> 20);
}

static void check_socket(json_t *findings, const char *subject, const char *path)
{
	char dir[128];
	struct stat st;
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash != NULL && slash != dir)
		*slash = '\0';
	if (stat(dir, &st) < 0) {
		find(findings, "problem", subject, "directory %s: %s", dir, strerror(errno));
		return;
	}
	if (st.st_uid == 0 && !(st.st_mode & S_IXOTH) && st.st_gid == 0)
		find(findings, "hint", subject,
		     "only root may enter %s: QEMU under another user cannot "
		     "connect; `chmod o+x %s`",
		     dir, dir);
	if (stat(path, &st) == 0 && st.st_uid == 0 && st.st_gid == 0 && !(st.st_mode & S_IWOTH))
		find(findings, "hint", subject,
		     "only root may connect to %s; for QEMU under libvirt: "
		     "`xvioctl daemon set socket_owner=libvirt-qemu socket_group=kvm`, then add "
		     "the "
		     "port anew",
		     path);
}

static void check_waiting(json_t *findings, const char *subject, const json_t *port)
{
	const json_t *virtio = json_object_get(port, "virtio");
	const char *path = text_of(port, "socket");
	bool client = strcmp(text_of(port, "mode"), "client") == 0;

	if (json_is_true(json_object_get(virtio, "connected")))
		find(findings, "problem", subject,
		     "the VM is connected but its driver has not started "
		     "any queue: has it booted, does it have virtio_net?");
	else if (client && access(path, F_OK) < 0)
		find(findings, "problem", subject,
		     "waits for %s, which does not exist: start the VM, "
		     "with a chardev that listens there (server=on)",
		     path);
	else if (client)
		find(findings, "problem", subject,
		     "nobody accepts a connection on %s: start the VM", path);
	else
		find(findings, "problem", subject,
		     "nobody has connected to %s: start the VM with a "
		     "vhost-user netdev on that socket and shared memory",
		     path);
}

static void check_drops(json_t *findings, const char *subject, const json_t *port)
{
	json_t *drops = json_object_get(port, "drops"), *n;
	json_int_t packets = number_of(port, "rx_packets");
	const char *reason;

	json_object_foreach (drops, reason, n) {
		if (json_integer_value(n) * 100 > packets && json_integer_value(n) > 100)
			find(findings, "hint", subject,
			     "%lld of its %lld packets were dropped, reason %s: see `xvioctl drop "
			     "list`",
			     (long long)json_integer_value(n), (long long)packets, reason);
	}
}

static void check_port(json_t *findings, const json_t *port)
{
	const char *state = text_of(port, "state");
	char subject[80];
	size_t before = json_array_size(findings);

	snprintf(subject, sizeof(subject), "port %s", text_of(port, "name"));
	if (strcmp(state, "waiting") == 0)
		check_waiting(findings, subject, port);
	else if (strcmp(state, "broken") == 0)
		find(findings, "problem", subject,
		     "was cut off, the guest broke the rules (%s); "
		     "restart the VM",
		     text_of(json_object_get(port, "virtio"), "broken"));
	else if (strcmp(state, "down") == 0)
		find(findings, "problem", subject, "has no link");
	if (text_of(port, "network")[0] == '\0' && text_of(port, "wire")[0] == '\0' && text_of(port, "vtep")[0] == '\0' &&
	    text_of(port, "datapath")[0] == '\0')
		find(findings, "problem", subject,
		     "belongs to no network and no wire, all its packets "
		     "are dropped: `xvioctl port set %s network=NAME`",
		     text_of(port, "name"));
	if (text_of(port, "socket")[0] != '\0' && strcmp(text_of(port, "mode"), "server") == 0)
		check_socket(findings, subject, text_of(port, "socket"));
	check_drops(findings, subject, port);
	if (json_array_size(findings) == before)
		find(findings, "ok", subject, "%s", state);
}

static void check_daemon(json_t *findings, struct client *client)
{
	json_t *host, *ports, *worker, *port;
	char error[600];
	size_t i;

	if (client_call(client, "host.show", json_object(), &host, error, sizeof(error)) < 0) {
		find(findings, "problem", "xviod", "%s (`systemctl start xviod`)", error);
		check_limits(findings, getpid(), NULL);
		return;
	}
	find(findings, "ok", "xviod", "runs, pid %lld", (long long)number_of(host, "pid"));
	json_array_foreach (json_object_get(host, "workers"), i, worker)
		check_worker(findings, worker);
	if (client_call(client, "port.list", json_object(), &ports, error, sizeof(error)) < 0) {
		find(findings, "problem", "xviod", "%s", error);
		ports = json_array();
	}
	check_limits(findings, (long long)number_of(host, "pid"), ports);
	if (json_array_size(ports) == 0)
		find(findings, "hint", "ports",
		     "there are none yet: `xvioctl port add NAME ...`, or a "
		     "host file");
	json_array_foreach (ports, i, port)
		check_port(findings, port);
	json_decref(ports);
	json_decref(host);
}

json_t *doctor_findings(struct client *client)
{
	json_t *findings = json_array();

	check_hugepages(findings);
	check_cpu_flags(findings);
	check_governor(findings);
	check_daemon(findings, client);
	return findings;
}

void doctor_print(const json_t *findings)
{
	json_t *finding;
	size_t i;

	json_array_foreach (findings, i, finding)
		printf("%-8s %s: %s\n", text_of(finding, "level"), text_of(finding, "subject"),
		       text_of(finding, "text"));
}
