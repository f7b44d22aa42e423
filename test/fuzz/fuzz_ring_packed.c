/* SPDX-License-Identifier: Apache-2.0 */
/* Receive and send on packed rings of a hostile guest: fuzz_ring.c. */
#include "fuzz.h"

#include "fuzz_ring.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_ring_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_ring_run(data, size, true);
	return 0;
}
