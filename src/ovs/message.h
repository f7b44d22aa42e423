/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing answers (protocol.h) into memory that grows. Running out of memory is remembered: the answer is then an error.
 * Control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ovs/protocol.h"

struct xv_ovs_message {
	uint8_t *buf;
	uint32_t len, room;
	bool failed;
};

/* The answer to a request begins. */
void xv_ovs_message_begin(struct xv_ovs_message *m, const struct xv_ovs_header *request);
/* Header is complete; m->buf is m->len bytes, or NULL: no memory. */
void xv_ovs_message_finish(struct xv_ovs_message *m, int error);
void xv_ovs_message_free(struct xv_ovs_message *m);

void xv_ovs_put(struct xv_ovs_message *m, uint16_t type, const void *body, uint32_t len);
/* Items as they are. */
void xv_ovs_put_raw(struct xv_ovs_message *m, const void *items, uint32_t len);
void xv_ovs_put_u32(struct xv_ovs_message *m, uint16_t type, uint32_t value);
void xv_ovs_put_u64(struct xv_ovs_message *m, uint16_t type, uint64_t value);
void xv_ovs_put_text(struct xv_ovs_message *m, uint16_t type, const char *text);
/* An item whose body is still to be written: what is put until close. Returns what close wants. */
uint32_t xv_ovs_open(struct xv_ovs_message *m, uint16_t type);
void xv_ovs_close(struct xv_ovs_message *m, uint32_t at);
/* A body of len bytes to be filled in; NULL: no memory. Valid until the next put. */
void *xv_ovs_put_room(struct xv_ovs_message *m, uint16_t type, uint32_t len);

/* Netlink attributes, between open and close. */
void xv_ovs_put_attr(struct xv_ovs_message *m, uint16_t type, const void *data, uint32_t len);
uint32_t xv_ovs_open_attr(struct xv_ovs_message *m, uint16_t type);
void xv_ovs_close_attr(struct xv_ovs_message *m, uint32_t at);
