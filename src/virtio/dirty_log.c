/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/dirty_log.h"

#include <errno.h>
#include <stdlib.h>

int xv_dirty_log_create(int fd, uint64_t size, uint64_t offset, struct xv_dirty_log **log,
			struct xv_err *err)
{
	struct xv_dirty_log *l = calloc(1, sizeof(*l));
	int rc;

	if (l == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	rc = xv_file_map(&l->file, "dirty log", fd, offset, size, &l->broken, err);
	if (rc != 0) {
		free(l);
		return rc;
	}
	l->bits = (_Atomic uint8_t *)l->file.at;
	l->size_bytes = size;
	*log = l;
	return 0;
}

void xv_dirty_log_destroy(struct xv_dirty_log *log)
{
	if (log == NULL)
		return;
	xv_file_unmap(&log->file);
	free(log);
}
