/* SPDX-License-Identifier: Apache-2.0 */
/* The socket of a vhost-user device: who may connect, and how soon a client is back. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "vhost_front.h"

/*
 * Sockets
 */

static int front_connect(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", front_path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	(void)close(fd);
	return -errno;
}

static int front_listen(bool listening)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", front_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (listening)
		assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int create(struct xv_vhost **v, struct xv_err *err)
{
	memset(err, 0, sizeof(*err));
	return xv_vhost_create(&front_config, front_base, &front_events, NULL, v, err);
}

static bool is_closed(int fd)
{
	uint8_t byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void server_takes_one_at_a_time(void **state)
{
	char long_path[120];
	struct xv_vhost *a, *b = NULL;
	struct xv_err err;
	struct stat st;
	int one, two;

	front_config.socket = front_path;
	front_config.socket_mode = 0640;
	front_config.socket_owner = "0";
	assert_int_equal(create(&a, &err), 0);
	assert_int_equal(stat(front_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(create(&b, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "is in use by another process"));
	xv_vhost_destroy(a); /* it was called, to see whether somebody is there */
	assert_int_equal(create(&a, &err), 0);

	assert_true((one = front_connect()) >= 0);
	front_turn();
	assert_true(front_state_of(a).connected);
	assert_true((two = front_connect()) >= 0);
	front_turn();
	assert_true(is_closed(two));
	assert_false(is_closed(one));
	assert_int_equal(front_state_of(a).connects, 1);
	(void)close(two);
	/* The first dies, and the next one is there before we have noticed. */
	(void)close(one);
	assert_true((two = front_connect()) >= 0);
	front_turn();
	front_turn();
	assert_true(front_state_of(a).connected);
	assert_int_equal(front_state_of(a).connects, 2);
	assert_int_equal(front_state_of(a).disconnects, 1);
	assert_false(is_closed(two));
	xv_vhost_destroy(a);
	assert_true(is_closed(two));
	(void)close(two);
	assert_int_equal(stat(front_path, &st), -1);

	/* A stale file is replaced, a successor's is not removed. */
	(void)close(front_listen(false));
	assert_int_equal(create(&a, &err), 0);
	assert_int_equal(unlink(front_path), 0);
	one = front_listen(true);
	xv_vhost_destroy(a);
	assert_int_equal(stat(front_path, &st), 0);
	assert_int_equal(create(&a, &err), -EADDRINUSE);
	(void)close(one);
	(void)unlink(front_path);

	assert_true((one = open(front_path, O_CREAT | O_WRONLY, 0600)) >= 0);
	(void)close(one);
	assert_int_equal(create(&a, &err), -EEXIST);
	assert_non_null(strstr(err.text, "is not a socket"));
	(void)unlink(front_path);
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[119] = '\0';
	front_config.socket = long_path;
	assert_int_equal(create(&a, &err), -ENAMETOOLONG);
	assert_string_equal(err.text, "path is longer than 107 bytes");
	front_config.socket = "";
	assert_int_equal(create(&a, &err), -EINVAL);
	front_config.socket = "/nonexistent/vm1.sock";
	assert_int_equal(create(&a, &err), -ENOENT);
	assert_string_equal(err.text, "the directory of /nonexistent/vm1.sock does not exist");
	front_config.socket = front_path;
	front_config.socket_owner = "no-such-user";
	assert_int_equal(create(&a, &err), -ENOENT);
	assert_string_equal(err.text, "socket owner: there is no user no-such-user");
	front_config.socket_owner = NULL;
	front_config.socket_mode = -1;
	front_config.max_pairs = 33;
	assert_int_equal(create(&a, &err), -EINVAL);
	front_config.max_pairs = 4;
}

/* Milliseconds until the device is connected. */
static unsigned int wait_connected(const struct xv_vhost *v, uint64_t connects)
{
	uint64_t begin = xv_clock_ns(), now = begin;

	while (front_state_of(v).connects < connects && now - begin < UINT64_C(5000000000)) {
		(void)event_base_loop(front_base, EVLOOP_ONCE);
		now = xv_clock_ns();
	}
	assert_int_equal(front_state_of(v).connects, connects);
	return (unsigned int)((now - begin) / 1000000);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void client_comes_back_at_once(void **state)
{
	struct xv_vhost *v;
	struct xv_err err;
	uint64_t connects = 0;
	unsigned int i, n = 0, ms[90];
	char sub[96];

	front_config.socket = front_path;
	front_config.client = true;
	assert_int_equal(create(&v, &err), 0);
	front_turn_for_ms(30);
	assert_false(front_state_of(v).connected);
	for (i = 0; i < 60; i++) {
		int listener, fd;

		if (i % 4 == 3) {
			front_turn_for_ms(20);
			listener = front_listen(
				false); /* the file is there a while before it listens */
			front_turn_for_ms(20);
			assert_int_equal(listen(listener, 4), 0);
		} else if (i % 4 == 2) {
			char temporary[sizeof(front_path)];

			front_turn_for_ms(600); /* no longer in a hurry */
			memcpy(temporary, front_path, sizeof(front_path));
			front_path[strlen(front_path) - 1] = '~';
			listener = front_listen(true);
			assert_int_equal(rename(front_path, temporary), 0);
			memcpy(front_path, temporary, sizeof(front_path));
		} else {
			listener = front_listen(true);
		}
		ms[n++] = wait_connected(v, ++connects);
		fd = accept(listener, NULL, NULL);
		assert_true(fd >= 0);
		front_sock = fd;
		front_dev = v;
		assert_true(front_ask(XV_VHOST_GET_FEATURES) != 0);
		if (i % 4 == 1) {
			/* it hangs up, but goes on listening */
			(void)close(fd);
			ms[n++] = wait_connected(v, ++connects);
			fd = accept(listener, NULL, NULL);
			assert_true(fd >= 0);
		}
		(void)close(fd);
		(void)close(listener);
		(void)unlink(front_path);
		front_turn();
		front_turn();
	}
	assert_int_equal(n, connects);
	qsort(ms, n, sizeof(ms[0]), compare);
	assert_true(ms[n * 3 / 4] <=
		    10);              /* not all: this machine may be busy with something else */
	assert_true(ms[n - 1] < 500); /* what the slow timer alone would not do */
	assert_int_equal(front_state_of(v).disconnects, connects);
	xv_vhost_destroy(v);

	/* The directory is not there yet, nor is the one that it is in. */
	(void)snprintf(sub, sizeof(sub), "%s/a", front_dir);
	(void)snprintf(front_path, sizeof(front_path), "%s/a/b/s", front_dir);
	assert_int_equal(create(&v, &err), 0);
	front_turn_for_ms(20);
	assert_int_equal(mkdir(sub, 0700), 0);
	front_turn_for_ms(20);
	(void)strcat(sub, "/b");
	assert_int_equal(mkdir(sub, 0700), 0);
	front_turn_for_ms(20);
	front_sock = front_listen(true);
	assert_true(wait_connected(v, 1) < 500);
	xv_vhost_destroy(v);
	(void)close(front_sock);
	(void)unlink(front_path);
	(void)rmdir(sub);
	sub[strlen(sub) - 2] = '\0';
	(void)rmdir(sub);
	(void)snprintf(front_path, sizeof(front_path), "%s/s", front_dir);
	front_config.client = false;
}

static void waiting_costs_nothing(void **state)
{
	struct xv_vhost *v[64];
	struct rusage before, after;
	struct xv_err err;
	unsigned int i, fds;
	uint64_t us;

	front_config.socket = front_path;
	front_config.client = true;
	fds = front_count_fds();
	for (i = 0; i < 64; i++)
		assert_int_equal(create(&v[i], &err), 0);
	front_turn_for_ms(10);
	(void)getrusage(RUSAGE_SELF, &before);
	front_turn_for_ms(900);
	front_turn_for_ms(900);
	(void)getrusage(RUSAGE_SELF, &after);
	us = (uint64_t)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
			before.ru_stime.tv_sec) *
		     1000000 +
	     (uint64_t)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
			before.ru_stime.tv_usec);
	assert_true(us < 18000); /* 1 %, to be safe where time is counted in ticks */
	for (i = 0; i < 64; i++)
		xv_vhost_destroy(v[i]);
	assert_int_equal(front_count_fds(), fds);
	front_config.client = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_takes_one_at_a_time),
		cmocka_unit_test(client_comes_back_at_once),
		cmocka_unit_test(waiting_costs_nothing),
	};

	return cmocka_run_group_tests(tests, front_setup, front_teardown);
}
