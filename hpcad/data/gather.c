/* Pieces of open files, read into memory in one call.
 *
 * Reading thousands of samples one by one from Python costs as much as the copies themselves. Here
 * a whole batch is one call, without the interpreter's lock, so several threads really read at the
 * same time. pread keeps no position, so threads and forked processes may share a descriptor.
 */
#include <errno.h>
#include <stdint.h>
#include <unistd.h>

/* Bytes of one request: what lies together is asked for together, but no request is so long that
 * an interruption costs much. */
#define LONGEST (64L << 20)

typedef struct {
    const int32_t *files;  /* descriptor of each piece */
    const int64_t *starts; /* its first byte in the file */
    const int64_t *sizes;  /* its bytes */
    const int64_t *places; /* where in the target it goes */
    char *target;
    long count;
    long requests; /* out: how many requests the kernel got */
    long error;    /* out: errno, or 0 where the file ended too early */
} hp_pieces;

/* Whether piece i continues piece i - 1, in the file and in memory. */
static int continues(const hp_pieces *p, long i)
{
    return p->files[i] == p->files[i - 1] && p->starts[i] == p->starts[i - 1] + p->sizes[i - 1] &&
           p->places[i] == p->places[i - 1] + p->sizes[i - 1];
}

/* Returns the number of pieces when all were read, else the first piece of the failed request. */
long hp_gather(hp_pieces *p)
{
    long first = 0;
    while (first < p->count) {
        int64_t size = p->sizes[first];
        long next = first + 1;
        while (next < p->count && size < LONGEST && continues(p, next))
            size += p->sizes[next++];
        for (int64_t done = 0; done < size;) {
            ssize_t got = pread(p->files[first], p->target + p->places[first] + done,
                                (size_t)(size - done), p->starts[first] + done);
            p->requests++;
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0) {
                p->error = got < 0 ? errno : 0;
                return first;
            }
            done += got;
        }
        first = next;
    }
    return first;
}
