/* Build options: one that is there, one that is not and may be missing. */
#include "small.h"

extern int CONFIG_HZ __kconfig;
extern int CONFIG_NO_SUCH_OPTION __kconfig __weak;

SEC("raw_tp/sys_enter")
int kernel_option(void *ctx)
{
	return CONFIG_HZ + CONFIG_NO_SUCH_OPTION;
}
