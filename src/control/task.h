/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer of the API that takes several turns of the event loop: because something has to happen first, or because it
 * is so long that writing it at once would hold everything else up. The method makes a task (handlers.h), the server
 * calls step() until the task is done and sends what it writes. Control thread.
 */
#pragma once

struct evbuffer;

enum xv_task_state {
	XV_TASK_WAIT, /* there is nothing to do yet: come back in about a millisecond */
	XV_TASK_MORE, /* come back when others have had their turn */
	XV_TASK_DONE,
};

struct xv_task {
	/* Append more of the answer, JSON text, to out; take a few milliseconds at most. */
	enum xv_task_state (*step)(struct xv_task *task, struct evbuffer *out);
	/* Also of one that is not done: its client is gone. */
	void (*destroy)(struct xv_task *task);
};
