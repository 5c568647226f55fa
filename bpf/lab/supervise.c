#include "supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define PAUSE_S 1

static volatile sig_atomic_t told_to_end;
static volatile pid_t child;

static void end(int signal)
{
	told_to_end = 1;
	if (child > 0)
		kill(child, signal);
}

static void tell(pid_t pid, int status, int restarts)
{
	if (WIFSIGNALED(status))
		log_line(LOG_WARN, "supervisor: lab-agent[%d] ended by signal %d (%s); restart %d in %d s", pid,
			 WTERMSIG(status), strsignal(WTERMSIG(status)), restarts, PAUSE_S);
	else
		log_line(LOG_WARN, "supervisor: lab-agent[%d] ended with %d; restart %d in %d s", pid, WEXITSTATUS(status),
			 restarts, PAUSE_S);
}

void supervise(void)
{
	const struct sigaction action = {.sa_handler = end}, usual = {.sa_handler = SIG_DFL};
	const struct timespec pause = {.tv_sec = PAUSE_S};
	int status, restarts = 0;

	prctl(PR_SET_NAME, "lab-supervisor"); /* not an agent, for whoever looks for one */
	while (!told_to_end) {
		sigaction(SIGTERM, &usual, NULL);
		child = fork();
		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			prctl(PR_SET_NAME, "lab-agent");
			return;
		}
		sigaction(SIGTERM, &action, NULL);
		sigaction(SIGINT, &action, NULL);
		if (child < 0) {
			log_line(LOG_ERROR, "supervisor: %s", strerror(errno));
			exit(1);
		}
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (!told_to_end) {
			tell(child, status, ++restarts);
			nanosleep(&pause, NULL);
		}
	}
	exit(0);
}
