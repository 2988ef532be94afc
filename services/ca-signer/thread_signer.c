#include "thread_signer.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_key_t slot;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void end(void *signer)
{
    kernel_signer_free(signer);
}

static void make_slot(void)
{
    if (pthread_key_create(&slot, end) != 0) {
        abort(); /* the process has a handful of them */
    }
}

struct kernel_signer *thread_signer(void)
{
    (void)pthread_once(&once, make_slot);
    struct kernel_signer *signer = pthread_getspecific(slot);
    if (signer == NULL) {
        signer = kernel_signer_new();
        if (pthread_setspecific(slot, signer) != 0) {
            abort(); /* out of memory */
        }
    }
    return signer;
}
