/* One thread that waits for a descriptor, syncs it and closes it. It owns the duplicate of the
 * descriptor that a request makes; nothing else is shared but this struct, under its lock. */
#include "bidder/event_log_sync.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct event_sync {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int fd; /* duplicate to sync next; -1 = none */
    bool stop, failed;
};

static void *run(void *context)
{
    struct event_sync *sync = context;
    pthread_mutex_lock(&sync->lock);
    while (!sync->stop || sync->fd >= 0) {
        if (sync->fd < 0) {
            pthread_cond_wait(&sync->wake, &sync->lock);
            continue;
        }
        int fd = sync->fd;
        sync->fd = -1;
        pthread_mutex_unlock(&sync->lock);
        bool failed = fdatasync(fd) != 0;
        close(fd);
        pthread_mutex_lock(&sync->lock);
        sync->failed |= failed;
    }
    pthread_mutex_unlock(&sync->lock);
    return NULL;
}

struct event_sync *event_sync_create(void)
{
    struct event_sync *sync = calloc(1, sizeof(*sync));
    if (!sync) {
        return NULL;
    }
    sync->fd = -1;
    pthread_mutex_init(&sync->lock, NULL);
    pthread_cond_init(&sync->wake, NULL);
    if (pthread_create(&sync->thread, NULL, run, sync)) {
        pthread_cond_destroy(&sync->wake);
        pthread_mutex_destroy(&sync->lock);
        free(sync);
        return NULL;
    }
    return sync;
}

void event_sync_destroy(struct event_sync **sync)
{
    if (!*sync) {
        return;
    }
    pthread_mutex_lock(&(*sync)->lock);
    (*sync)->stop = true;
    pthread_cond_signal(&(*sync)->wake);
    pthread_mutex_unlock(&(*sync)->lock);
    pthread_join((*sync)->thread, NULL);
    pthread_cond_destroy(&(*sync)->wake);
    pthread_mutex_destroy(&(*sync)->lock);
    free(*sync);
    *sync = NULL;
}

void event_sync_request(struct event_sync *sync, int fd)
{
    int copy = dup(fd);
    pthread_mutex_lock(&sync->lock);
    int waiting = sync->fd; /* of this file or, just after a rotation, of the one before */
    sync->fd = copy;
    sync->failed |= copy < 0;
    pthread_cond_signal(&sync->wake);
    pthread_mutex_unlock(&sync->lock);
    if (waiting >= 0) {
        close(waiting);
    }
}

bool event_sync_take_failure(struct event_sync *sync)
{
    pthread_mutex_lock(&sync->lock);
    bool failed = sync->failed;
    sync->failed = false;
    pthread_mutex_unlock(&sync->lock);
    return failed;
}
