/* SPDX-License-Identifier: Apache-2.0 */
#include "control/health.h"

const char *xv_health_name(enum xv_health_state state)
{
	static const char *const names[] = {"unknown", "up", "down"};

	return names[state];
}

static bool result(struct xv_health *h, const struct xv_health_config *config, bool good)
{
	enum xv_health_state says = good ? XV_HEALTH_UP : XV_HEALTH_DOWN;

	h->asked = false;
	h->fails += !good;
	if (says == h->state) {
		h->streak = 0;
		return false;
	}
	h->streak++;
	if (h->state != XV_HEALTH_UNKNOWN && h->streak < (good ? config->rise : config->fall))
		return false;
	h->state = says;
	h->streak = 0;
	return true;
}

bool xv_health_tick(struct xv_health *h, const struct xv_health_config *config, uint32_t now_ms,
		    bool *ask)
{
	bool changed = false;

	if (h->asked && now_ms - h->asked_ms >= config->timeout_ms)
		changed = result(h, config, false);
	*ask = !h->asked && (!h->started || now_ms - h->asked_ms >= config->interval_ms);
	if (*ask) {
		h->started = h->asked = true;
		h->asked_ms = now_ms;
		h->seq++;
		h->asks++;
	}
	return changed;
}

bool xv_health_answer(struct xv_health *h, const struct xv_health_config *config, uint16_t seq,
		      bool good)
{
	return h->asked && seq == h->seq && result(h, config, good);
}
