/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many TCP connections, and FTP, inside guests whose busybox has no server of either:
 *
 *   tcp_tool serve PORT NAME        echo to everybody, after the letter NAME; "ready"
 *   tcp_tool hold ADDRESS PORT N    open N connections and keep them; "open: LETTERS", one for
 * each; then for each line that is read from the FIFO /tmp/hold a byte there and back on all:
 * "alive: LETTERS", . = lost tcp_tool ftpd BYTES             an FTP server (RFC 959) for one client
 * at a time, with a file of so many bytes; "ready" tcp_tool ftp ADDRESS active|passive   get it:
 * "BYTES SUM of ADDRESS", where ADDRESS is what was told for the data connection
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX     1024
#define WAIT_MS 4000

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address_of(const char *text, unsigned int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
		fail(text);
	return a;
}

static int listen_on(unsigned int port)
{
	struct sockaddr_in a = address_of("0.0.0.0", port);
	int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, MAX) < 0)
		fail("listen");
	return s;
}

static int connect_to(const struct sockaddr_in *a)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(s, (const struct sockaddr *)a, sizeof(*a)) < 0)
		fail("connect");
	return s;
}

static bool readable(int s, int timeout_ms)
{
	struct pollfd p = {.fd = s, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1;
}

static void serve(unsigned int port, const char *name)
{
	struct pollfd fds[MAX] = {{.fd = listen_on(port), .events = POLLIN}};
	nfds_t n = 1, i;
	char buf[2048];

	puts("ready");
	fflush(stdout);
	while (poll(fds, n, -1) > 0) {
		for (i = n; i-- > 1;) {
			ssize_t got;

			if (fds[i].revents == 0)
				continue;
			got = read(fds[i].fd, buf, sizeof(buf));
			if (got > 0 && write(fds[i].fd, buf, (size_t)got) == got)
				continue;
			close(fds[i].fd);
			fds[i] = fds[--n];
		}
		if (fds[0].revents != 0 && n < MAX) {
			int s = accept(fds[0].fd, NULL, NULL);

			if (s >= 0 && write(s, name, 1) == 1)
				fds[n++] = (struct pollfd){.fd = s, .events = POLLIN};
		}
	}
}

static void hold(const char *address, unsigned int port, unsigned int n)
{
	struct sockaddr_in a = address_of(address, port);
	char names[MAX + 1] = "", line[64];
	int s[MAX];
	unsigned int i;
	FILE *fifo;

	for (i = 0; i < n; i++) {
		s[i] = connect_to(&a);
		if (!readable(s[i], WAIT_MS) || read(s[i], &names[i], 1) != 1)
			fail("first byte");
	}
	printf("open: %s\n", names);
	fflush(stdout);
	mkfifo("/tmp/hold", 0600);
	fifo = fopen("/tmp/hold", "r+");
	while (fgets(line, sizeof(line), fifo) != NULL) {
		char alive[MAX + 1] = "", byte;
		struct timespec start, now;

		clock_gettime(CLOCK_MONOTONIC, &start);
		for (i = 0; i < n; i++)
			(void)!send(s[i], "x", 1, MSG_NOSIGNAL);
		for (i = 0; i < n; i++) {
			long left;

			clock_gettime(CLOCK_MONOTONIC, &now);
			left = WAIT_MS - (now.tv_sec - start.tv_sec) * 1000 -
			       (now.tv_nsec - start.tv_nsec) / 1000000;
			alive[i] = readable(s[i], left > 0 ? (int)left : 0) &&
						   recv(s[i], &byte, 1, 0) == 1
					   ? names[i]
					   : '.';
		}
		printf("alive: %s\n", alive);
		fflush(stdout);
	}
}

/* ---- FTP ---- */

static uint8_t byte_at(unsigned int i)
{
	return (uint8_t)(i * 131 + (i >> 8));
}

static void say(int s, const char *text)
{
	if (write(s, text, strlen(text)) < 0)
		fail("control connection");
}

static struct sockaddr_in numbers(const char *text)
{
	unsigned int n[6];
	char addr[32];

	if (sscanf(text, "%u,%u,%u,%u,%u,%u", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]) != 6)
		fail(text);
	snprintf(addr, sizeof(addr), "%u.%u.%u.%u", n[0], n[1], n[2], n[3]);
	return address_of(addr, n[4] << 8 | n[5]);
}

/* A listener on a port of its own, and "h,h,h,h,p,p" with the address that the control connection
 * has here. */
static int listener(int control, char text[64])
{
	struct sockaddr_in own, a;
	socklen_t len = sizeof(own), len2 = sizeof(a);
	int s = listen_on(0);
	uint32_t ip;

	getsockname(control, (struct sockaddr *)&own, &len);
	getsockname(s, (struct sockaddr *)&a, &len2);
	ip = ntohl(own.sin_addr.s_addr);
	snprintf(text, 64, "%u,%u,%u,%u,%u,%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255,
		 ntohs(a.sin_port) >> 8, ntohs(a.sin_port) & 255);
	return s;
}

static void ftp_session(int control, unsigned int bytes)
{
	FILE *in = fdopen(dup(control), "r");
	struct sockaddr_in to = {0};
	char line[256], text[64], reply[128];
	int passive = -1, s, on = 1;
	unsigned int i;
	uint8_t b;
	FILE *out;

	say(control, "220 ready\r\n");
	while (fgets(line, sizeof(line), in) != NULL) {
		if (strncmp(line, "PASV", 4) == 0) {
			passive = listener(control, text);
			snprintf(reply, sizeof(reply), "227 Entering Passive Mode (%s).\r\n", text);
			say(control, reply);
		} else if (strncmp(line, "PORT ", 5) == 0) {
			to = numbers(line + 5);
			say(control, "200 ok\r\n");
		} else if (strncmp(line, "RETR", 4) == 0) {
			if (passive >= 0) {
				s = accept(passive, NULL, NULL);
			} else {
				struct sockaddr_in from = address_of("0.0.0.0", 20);

				s = socket(AF_INET, SOCK_STREAM, 0);
				setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
				(void)!bind(s, (struct sockaddr *)&from, sizeof(from));
				if (connect(s, (struct sockaddr *)&to, sizeof(to)) < 0)
					fail("data connection");
			}
			say(control, "150 here it comes\r\n");
			out = fdopen(s, "w");
			for (i = 0; i < bytes; i++) {
				b = byte_at(i);
				fwrite(&b, 1, 1, out);
			}
			fclose(out);
			say(control, "226 done\r\n");
		} else if (strncmp(line, "QUIT", 4) == 0) {
			break;
		} else {
			say(control, "200 ok\r\n");
		}
	}
	fclose(in);
	close(control);
	if (passive >= 0)
		close(passive);
}

static void expect(FILE *in, const char *code, char line[256])
{
	do {
		if (fgets(line, 256, in) == NULL)
			fail("control connection");
	} while (strncmp(line, code, 3) != 0);
}

static void ftp(const char *address, bool active)
{
	struct sockaddr_in a = address_of(address, 21), data;
	int control = connect_to(&a), s = -1, accepting = -1;
	FILE *in = fdopen(dup(control), "r");
	char line[256], text[64], command[128], told[32] = "-";
	unsigned int got = 0, good = 0;
	uint8_t buf[4096];
	ssize_t n;

	expect(in, "220", line);
	say(control, "USER a\r\n");
	expect(in, "200", line);
	if (active) {
		accepting = listener(control, text);
		snprintf(command, sizeof(command), "PORT %s\r\n", text);
		say(control, command);
		expect(in, "200", line);
		say(control, "RETR file\r\n");
		s = readable(accepting, WAIT_MS) ? accept(accepting, NULL, NULL) : -1;
	} else {
		say(control, "PASV\r\n");
		expect(in, "227", line);
		data = numbers(strchr(line, '(') + 1);
		inet_ntop(AF_INET, &data.sin_addr, told, sizeof(told));
		say(control, "RETR file\r\n");
		s = connect_to(&data);
	}
	if (s < 0)
		fail("data connection");
	while ((n = read(s, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++, got++)
			good += buf[i] == byte_at(got);
	expect(in, "226", line);
	say(control, "QUIT\r\n");
	printf("%u %u of %s\n", got, good, told);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "serve") == 0) {
		serve((unsigned int)atoi(argv[2]), argv[3]);
	} else if (argc == 5 && strcmp(argv[1], "hold") == 0 && atoi(argv[4]) <= MAX) {
		hold(argv[2], (unsigned int)atoi(argv[3]), (unsigned int)atoi(argv[4]));
	} else if (argc == 3 && strcmp(argv[1], "ftpd") == 0) {
		int s = listen_on(21), control;

		puts("ready");
		fflush(stdout);
		while ((control = accept(s, NULL, NULL)) >= 0)
			ftp_session(control, (unsigned int)atoi(argv[2]));
	} else if (argc == 4 && strcmp(argv[1], "ftp") == 0) {
		ftp(argv[2], strcmp(argv[3], "active") == 0);
	} else {
		fprintf(stderr, "usage: tcp_tool serve|hold|ftpd|ftp ...\n");
		return 2;
	}
	return 0;
}
