/* What every bad program needs: it is loaded, never attached, and each kernel must refuse it for one
 * reason only, with a log of a few dozen lines.
 *
 * None of them is "too complex": a verifier that is made to work hard may break instead of refusing. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct entry {
	__u64 bytes[8];
};
