/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP for test guests, whose busybox has none. Both families, static: it goes into the guest as it is.
 *
 *     udp_tool serve PORT                     sends every datagram back
 *     udp_tool ask ADDRESS PORT COUNT BYTES   says how many were sent back unchanged, within a second each, and
 *                                             by which error the first one failed
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t data[65536], answer[65536];

static int serve(const char *port)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	int s = socket(AF_INET6, SOCK_DGRAM, 0), off = 0;

	if (s < 0 || setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0 ||
	    bind(s, (struct sockaddr *)&own, sizeof(own)) != 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct sockaddr_in6 peer;
		socklen_t len = sizeof(peer);
		ssize_t n = recvfrom(s, data, sizeof(data), 0, (struct sockaddr *)&peer, &len);

		if (n >= 0)
			(void)sendto(s, data, (size_t)n, 0, (struct sockaddr *)&peer, len);
	}
}

/* One request. 0, or an errno. */
static int ask_once(int s, size_t bytes)
{
	struct pollfd poll_fd = {.fd = s, .events = POLLIN};
	size_t i;

	for (i = 0; i < bytes; i++)
		data[i] = (uint8_t)rand();
	if (send(s, data, bytes, 0) < 0)
		return errno;
	/* An answer to an earlier one may come late. */
	while (poll(&poll_fd, 1, 1000) > 0) {
		ssize_t n = recv(s, answer, sizeof(answer), 0);

		if (n < 0)
			return errno;
		if ((size_t)n == bytes && memcmp(data, answer, bytes) == 0)
			return 0;
	}
	return ETIMEDOUT;
}

static int ask(const char *address, const char *port, int count, size_t bytes)
{
	struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = to4.sin_port};
	bool ipv6 = inet_pton(AF_INET6, address, &to6.sin6_addr) == 1;
	int s = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), good = 0, error = 0, i;

	if (bytes > sizeof(data) || s < 0 || (!ipv6 && inet_pton(AF_INET, address, &to4.sin_addr) != 1) ||
	    connect(s, ipv6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to4, ipv6 ? sizeof(to6) : sizeof(to4)) != 0)
		return 1;
	for (i = 0; i < count; i++) {
		int rc = ask_once(s, bytes);

		good += rc == 0;
		error = error != 0 ? error : rc;
	}
	printf("%d %s\n", good, error == 0 ? "-" : strerrorname_np(error));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc == 6 && strcmp(argv[1], "ask") == 0)
		return ask(argv[2], argv[3], atoi(argv[4]), (size_t)atoi(argv[5]));
	fprintf(stderr, "usage: udp_tool serve PORT | ask ADDRESS PORT COUNT BYTES\n");
	return 1;
}
