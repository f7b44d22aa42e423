/* SPDX-License-Identifier: Apache-2.0 */
#include "ovs/message.h"

#include <errno.h>
#include <stdlib.h>

#include <linux/netlink.h>

/* Zeroed room at the end; NULL: there is none. */
static void *extend(struct xv_ovs_message *m, uint32_t bytes)
{
	uint32_t room = m->room != 0 ? m->room : 1024;
	uint8_t *buf;

	if (m->failed)
		return NULL;
	while (room - m->len < bytes)
		room *= 2;
	if (room != m->room) {
		buf = realloc(m->buf, room);
		if (buf == NULL) {
			m->failed = true;
			return NULL;
		}
		m->buf = buf;
		m->room = room;
	}
	memset(m->buf + m->len, 0, bytes);
	m->len += bytes;
	return m->buf + m->len - bytes;
}

void xv_ovs_message_begin(struct xv_ovs_message *m, const struct xv_ovs_header *request)
{
	struct xv_ovs_header *h;

	*m = (struct xv_ovs_message){0};
	h = extend(m, sizeof(*h));
	if (h != NULL) {
		h->type = request->type;
		h->seq = request->seq;
	}
}

void xv_ovs_message_finish(struct xv_ovs_message *m, int error)
{
	struct xv_ovs_header *h = (struct xv_ovs_header *)(void *)m->buf;

	if (h == NULL)
		return;
	if (m->failed) {
		m->len = sizeof(*h);
		error = -ENOMEM;
	}
	h->error = (uint32_t)-error;
	h->len = m->len;
}

void xv_ovs_message_free(struct xv_ovs_message *m)
{
	free(m->buf);
	*m = (struct xv_ovs_message){0};
}

void *xv_ovs_put_room(struct xv_ovs_message *m, uint16_t type, uint32_t len)
{
	struct xv_ovs_item *item = extend(m, (uint32_t)sizeof(*item) + xv_ovs_padded(len));

	if (item == NULL)
		return NULL;
	item->len = len;
	item->type = type;
	return item + 1;
}

void xv_ovs_put(struct xv_ovs_message *m, uint16_t type, const void *body, uint32_t len)
{
	void *to = xv_ovs_put_room(m, type, len);

	if (to != NULL && len > 0)
		memcpy(to, body, len);
}

void xv_ovs_put_raw(struct xv_ovs_message *m, const void *items, uint32_t len)
{
	void *to = extend(m, xv_ovs_padded(len));

	if (to != NULL && len > 0)
		memcpy(to, items, len);
}

void xv_ovs_put_u32(struct xv_ovs_message *m, uint16_t type, uint32_t value)
{
	xv_ovs_put(m, type, &value, sizeof(value));
}

void xv_ovs_put_u64(struct xv_ovs_message *m, uint16_t type, uint64_t value)
{
	xv_ovs_put(m, type, &value, sizeof(value));
}

void xv_ovs_put_text(struct xv_ovs_message *m, uint16_t type, const char *text)
{
	xv_ovs_put(m, type, text, (uint32_t)strlen(text));
}

uint32_t xv_ovs_open(struct xv_ovs_message *m, uint16_t type)
{
	uint32_t at = m->len;

	(void)xv_ovs_put_room(m, type, 0);
	return at;
}

void xv_ovs_close(struct xv_ovs_message *m, uint32_t at)
{
	struct xv_ovs_item *item;

	if (m->failed)
		return;
	item = (struct xv_ovs_item *)(void *)(m->buf + at);
	item->len = m->len - at - (uint32_t)sizeof(*item);
	(void)extend(m, xv_ovs_padded(item->len) - item->len);
}

void xv_ovs_put_attr(struct xv_ovs_message *m, uint16_t type, const void *data, uint32_t len)
{
	struct nlattr *a = extend(m, NLA_HDRLEN + NLA_ALIGN(len));

	if (a == NULL)
		return;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	a->nla_type = type;
	if (len > 0)
		memcpy((uint8_t *)a + NLA_HDRLEN, data, len);
}

uint32_t xv_ovs_open_attr(struct xv_ovs_message *m, uint16_t type)
{
	uint32_t at = m->len;

	xv_ovs_put_attr(m, type, NULL, 0);
	return at;
}

void xv_ovs_close_attr(struct xv_ovs_message *m, uint32_t at)
{
	if (!m->failed)
		((struct nlattr *)(void *)(m->buf + at))->nla_len = (uint16_t)(m->len - at);
}
