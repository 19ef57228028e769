/* Put before the C library of a process: its system clock is ahead by the seconds that stand in the file REGRASP_CLOCK.

   For the row "system clock" of `regrasp bench faults`, which compiles it. Written by hand because libfaketime (0.9.10)
   breaks sleeps with an absolute monotonic deadline, which every beat uses. Waits for an absolute time of the system
   clock are not changed: they last longer than with a true step, which is harder on whoever uses them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    static const char *path;
    static struct timespec last;
    static long seconds;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    if (path == NULL) path = getenv("REGRASP_CLOCK");
    if (path == NULL) return 0;
    if (now.tv_sec == last.tv_sec && now.tv_nsec - last.tv_nsec < 50000000L) return seconds;
    last = now;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return seconds;
    char text[32] = {0};
    if (read(fd, text, sizeof text - 1) > 0) seconds = atol(text);
    close(fd);
    return seconds;
}
int clock_gettime(clockid_t id, struct timespec *t) {
    int failed = syscall(SYS_clock_gettime, id, t);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += offset();
    return failed;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now; (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
