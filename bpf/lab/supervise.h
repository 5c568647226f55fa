/* What systemd does for other agents: start the agent again whenever it ends, until told to end. */
#pragma once

/* Returns only in the children: each is to be an agent. The supervisor itself ends the process. */
void supervise(void);
