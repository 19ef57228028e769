/* Put before the C library of a process: its system clock is ahead by the seconds that stand in the file REGRASP_CLOCK.

   For the row "system clock" of `regrasp bench faults`, which compiles it. Written by hand because libfaketime (0.9.10)
   breaks sleeps with an absolute monotonic deadline, which every beat uses. Waits until a time of the system clock are
   handed on in true time, as the kernel does after a true step; what is clearly no time of day is monotonic and left. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define YEAR_2001 1000000000L

static long offset(void) {
    static struct timespec last;
    static long seconds;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    if (now.tv_sec == last.tv_sec && now.tv_nsec - last.tv_nsec < 50000000L) return seconds;
    last = now;
    const char *path = getenv("REGRASP_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[32] = {0};
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0) seconds = atol(text);
    if (fd >= 0) close(fd);
    return seconds;
}

static struct timespec true_time(const struct timespec *until) {
    struct timespec t = *until;
    if (t.tv_sec > YEAR_2001) t.tv_sec -= offset();
    return t;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    int failed = syscall(SYS_clock_gettime, id, t);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, const struct timespec *restrict u) {
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!next) next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    struct timespec t = true_time(u);
    return next(c, m, &t);
}

int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t id, const struct timespec *u) {
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!next) next = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    struct timespec t = true_time(u);
    return next(c, m, id, &t);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict m, const struct timespec *restrict u) {
    static int (*next)(pthread_mutex_t *, const struct timespec *);
    if (!next) next = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");
    struct timespec t = true_time(u);
    return next(m, &t);
}

int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t id, const struct timespec *u) {
    static int (*next)(pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!next) next = dlsym(RTLD_NEXT, "pthread_mutex_clocklock");
    struct timespec t = true_time(u);
    return next(m, id, &t);
}

int sem_timedwait(sem_t *restrict s, const struct timespec *restrict u) {
    static int (*next)(sem_t *, const struct timespec *);
    if (!next) next = dlsym(RTLD_NEXT, "sem_timedwait");
    struct timespec t = true_time(u);
    return next(s, &t);
}
