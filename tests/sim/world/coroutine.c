/*
 * coroutine.c - see coroutine.h. makecontext() enters a new stack; after that the switches are _setjmp() and
 * _longjmp(), which leave the signal mask alone and so cost no system call. Under AddressSanitizer, which has to be
 * told of another stack, every switch is swapcontext(), which it knows.
 */
#include "coroutine.h"

#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { COROUTINE_STACK = 256 * 1024, COROUTINE_GUARD = 64 * 1024 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COROUTINE_SWAP 1
#else
#define COROUTINE_SWAP 0
#endif

struct coroutine {
    struct coroutine *next; /* in the pool */
    char *stack;
    void (*body)(void *context);
    void *context;
    ucontext_t inside;
    jmp_buf at;
    bool entered;
};

static struct coroutine *coroutine_pool, *coroutine_running;
static ucontext_t coroutine_outside;
static jmp_buf coroutine_caller;

/* The first to run on a new stack. */
static void coroutine_enter(void)
{
    coroutine_running->body(coroutine_running->context);
    abort();
}

static struct coroutine *coroutine_new(void)
{
    struct coroutine *coroutine = calloc(1, sizeof *coroutine);
    char *memory = mmap(NULL, COROUTINE_GUARD + COROUTINE_STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (coroutine == NULL || memory == MAP_FAILED || mprotect(memory, COROUTINE_GUARD, PROT_NONE) != 0)
        abort();
    coroutine->stack = memory + COROUTINE_GUARD;
    return coroutine;
}

static void coroutine_prepare(ucontext_t *inside, char *stack)
{
    if (getcontext(inside) != 0)
        abort();
    inside->uc_stack.ss_sp = stack;
    inside->uc_stack.ss_size = COROUTINE_STACK;
    inside->uc_link = NULL;
    makecontext(inside, coroutine_enter, 0);
}

struct coroutine *coroutine_create(void (*body)(void *context), void *context)
{
    struct coroutine *coroutine = coroutine_pool;
    if (coroutine != NULL)
        coroutine_pool = coroutine->next;
    else
        coroutine = coroutine_new();
    coroutine->body = body;
    coroutine->context = context;
    coroutine->entered = false;
    coroutine_prepare(&coroutine->inside, coroutine->stack);
    return coroutine;
}

void coroutine_abandon(struct coroutine *coroutine)
{
    if (coroutine == NULL)
        return;
    coroutine->next = coroutine_pool;
    coroutine_pool = coroutine;
}

static _Noreturn void coroutine_go_on(void)
{
    if (coroutine_running->entered)
        _longjmp(coroutine_running->at, 1);
    coroutine_running->entered = true;
    setcontext(&coroutine_running->inside);
    abort();
}

void coroutine_resume(struct coroutine *coroutine)
{
    coroutine_running = coroutine;
    if (COROUTINE_SWAP)
        swapcontext(&coroutine_outside, &coroutine->inside);
    else if (_setjmp(coroutine_caller) == 0)
        coroutine_go_on();
    coroutine_running = NULL;
}

void coroutine_yield(void)
{
    if (COROUTINE_SWAP)
        swapcontext(&coroutine_running->inside, &coroutine_outside);
    else if (_setjmp(coroutine_running->at) == 0)
        _longjmp(coroutine_caller, 1);
}
