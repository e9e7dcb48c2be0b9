/* Moves the wall clock of single processes: seconds to add stand in $CLOCK_FOLDER/<pid>, looked at ten times a second.
 *
 * Loaded by LD_PRELOAD. Monotonic time stays true, as it does where somebody sets a machine's clock. A wait until a
 * wall-clock moment is handed to the kernel, whose clock was not moved: so that moment is moved back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define WALL_S_MIN 1000000000L /* a smaller moment is one of the monotonic clock */

static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_cond)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_cnd)(cnd_t *, mtx_t *, const struct timespec *);
static int (*real_sem)(sem_t *, const struct timespec *);
static const char *folder;
static volatile long moved, looked;

__attribute__((constructor)) static void find(void) {
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_cond = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"); /* plain dlsym finds a version older still */
    if (!real_cond) real_cond = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    real_cnd = dlsym(RTLD_NEXT, "cnd_timedwait"); /* what librdkafka waits with */
    real_sem = dlsym(RTLD_NEXT, "sem_timedwait");
    folder = getenv("CLOCK_FOLDER");
}

static long by(void) {
    struct timespec now;
    if (!real_gettime) find();
    real_gettime(CLOCK_MONOTONIC, &now);
    long tenth = now.tv_sec * 10 + now.tv_nsec / 100000000;
    if (tenth != looked && folder) {
        char path[4096], words[32] = "0";
        looked = tenth;
        snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            ssize_t size = read(file, words, sizeof words - 1);
            words[size > 0 ? size : 0] = 0;
            close(file);
        }
        moved = atol(words);
    }
    return moved;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_gettime) find();
    int failed = real_gettime(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += by();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}

static struct timespec true_moment(const struct timespec *until) {
    struct timespec moment = *until;
    if (moment.tv_sec > WALL_S_MIN) moment.tv_sec -= by();
    return moment;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    struct timespec moment = true_moment(until);
    return real_cond(cond, mutex, &moment);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
    struct timespec moment = true_moment(until);
    return real_cnd(cond, mutex, &moment);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until) {
    struct timespec moment = true_moment(until);
    return real_sem(sem, &moment);
}
