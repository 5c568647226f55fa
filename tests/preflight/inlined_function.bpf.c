/* fentry: blk_account_io_start is called otherwise, or inlined, from 5.16 to 6.4. */
#include "small.h"

SEC("fentry/blk_account_io_start")
int inlined_function(void *ctx)
{
	return 0;
}
