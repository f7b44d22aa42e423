/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_S 60

static int connect_to(struct client *client, char *error, size_t error_size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	int saved;

	if (strlen(client->path) >= sizeof(address.sun_path)) {
		snprintf(error, error_size, "socket path is longer than %zu bytes: %s",
			 sizeof(address.sun_path) - 1, client->path);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, client->path);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd >= 0 &&
	    connect(client->fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		(void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
		return 0;
	}
	saved = errno;
	client_close(client);
	snprintf(error, error_size, "cannot reach xviod on %s: %s%s", client->path, strerror(saved),
		 saved == ENOENT || saved == ECONNREFUSED ? "; is it running?" : "");
	return -ENOTCONN;
}

static int send_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* One line; *line is malloc memory. */
static int receive_line(int fd, char **line, size_t *len)
{
	size_t room = 65536;
	char *buf = malloc(room);

	*len = 0;
	while (buf != NULL) {
		ssize_t n = recv(fd, buf + *len, room - *len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(buf);
			return n == 0 ? -ECONNRESET : errno == EAGAIN ? -ETIMEDOUT : -errno;
		}
		*len += (size_t)n;
		if (buf[*len - 1] == '\n') {
			*line = buf;
			return 0;
		}
		if (*len == room) {
			char *more = realloc(buf, room *= 2);

			if (more == NULL)
				free(buf);
			buf = more;
		}
	}
	return -ENOMEM;
}

int client_call(struct client *client, const char *method, json_t *params, json_t **result,
		char *error, size_t error_size)
{
	json_t *request, *reply, *failure;
	char *text = NULL;
	size_t len = 0;
	int rc;

	request = json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1, "method", method,
			    "params", params);
	if (client->fd < 0) {
		rc = connect_to(client, error, error_size);
		if (rc < 0) {
			json_decref(request);
			return rc;
		}
	}
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	rc = text == NULL ? -ENOMEM : send_all(client->fd, text, strlen(text));
	if (rc == 0)
		rc = send_all(client->fd, "\n", 1);
	free(text);
	text = NULL;
	/* xviod may refuse a request half-way and say why. */
	if (rc == 0 || rc == -EPIPE)
		rc = receive_line(client->fd, &text, &len);
	if (rc < 0) {
		snprintf(error, error_size, "xviod does not answer: %s", strerror(-rc));
		return rc;
	}
	reply = json_loadb(text, len, JSON_DISABLE_EOF_CHECK, NULL);
	free(text);
	failure = json_object_get(reply, "error");
	if (json_is_object(failure)) {
		snprintf(error, error_size, "%s",
			 json_string_value(json_object_get(failure, "message")));
		json_decref(reply);
		return -EINVAL;
	}
	*result = json_incref(json_object_get(reply, "result"));
	json_decref(reply);
	if (*result == NULL) {
		snprintf(error, error_size, "xviod's answer makes no sense");
		return -EPROTO;
	}
	return 0;
}

void client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}
