// The JavaScript engine as a WebAssembly module that can do nothing by itself.
//
// Its imports are the eight functions below and no others: no files, no
// sockets, no environment. Text goes over as parcels: the host keeps one and
// says its length, the guest makes room and takes it; the other way round the
// guest gives one. What a script may use is built in `prelude/*.js` on top of
// the natives at the end of this file.
//
// QuickJS is compiled as part of this unit. Under WASI it takes the stack for
// endless, and a deep recursion would end in a trap that no script can catch;
// with `__wasi__` undefined after the C library's headers it keeps its limit.

#include <alloca.h>
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#undef __wasi__
#define EMSCRIPTEN 1
#include "quickjs.c"

#define HOST(name) __attribute__((import_module("are"), import_name(name)))
#define GUEST(name) __attribute__((export_name(name)))

// Milliseconds since 1970.
HOST("now") double are_now(void);
HOST("random") void are_random(uint8_t *to, uint32_t length);
// A piece of live output: 0 stdout, 1 stderr.
HOST("log") void are_log(uint32_t stream, const char *text, uint32_t length);
// Asks and waits; answers with the length of the parcel.
HOST("ask") uint32_t are_ask(const char *request, uint32_t length);
// Asks without waiting; the answer comes with `are_enter` under this number.
HOST("begin") void are_begin(uint32_t number, const char *request, uint32_t length);
HOST("take") void are_take(char *to, uint32_t length);
HOST("give") void are_give(const char *text, uint32_t length);
// Ends the instance; there is no console to print to.
HOST("broken") _Noreturn void are_broken(void);

// Bytes of the C stack that scripts may use; `build.rs` reserves four times as much.
#define STACK_BYTES (256 * 1024)

static JSRuntime *runtime;
static JSContext *context;
// The prelude's only function for the host.
static JSValue door;

// Taken instead of the C library's, which would bring in its files.
int gettimeofday(struct timeval *restrict to, void *restrict zone) {
    (void)zone;
    int64_t us = (int64_t)(are_now() * 1000.0);
    to->tv_sec = us / 1000000;
    to->tv_usec = (suseconds_t)(us % 1000000);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *to) {
    (void)clock;
    int64_t us = (int64_t)(are_now() * 1000.0);
    to->tv_sec = us / 1000000;
    to->tv_nsec = (long)(us % 1000000) * 1000;
    return 0;
}

// Scripts run in UTC.
struct tm *localtime_r(const time_t *restrict at, struct tm *restrict to) {
    (void)at;
    memset(to, 0, sizeof(*to));
    return to;
}

_Noreturn void abort(void) { are_broken(); }

_Noreturn void __assert_fail(const char *what, const char *file, int line, const char *function) {
    (void)what, (void)file, (void)line, (void)function;
    are_broken();
}

// QuickJS prints only what its debugger asks for.
int printf(const char *restrict format, ...) { (void)format; return 0; }
int fprintf(FILE *restrict file, const char *restrict format, ...) { (void)file, (void)format; return 0; }
int putchar(int character) { return character; }
int puts(const char *text) { (void)text; return 0; }
int fputc(int character, FILE *file) { (void)file; return character; }
int fputs(const char *restrict text, FILE *restrict file) { (void)text, (void)file; return 0; }
int fflush(FILE *file) { (void)file; return 0; }

// The ends of the C library's files, under its own names: with these nothing of WASI is left to import.
size_t __stdio_write(FILE *file, const unsigned char *bytes, size_t length) { (void)file, (void)bytes; return length; }
size_t __stdout_write(FILE *file, const unsigned char *bytes, size_t length) { (void)file, (void)bytes; return length; }
off_t __stdio_seek(FILE *file, off_t offset, int whence) { (void)file, (void)offset, (void)whence; return -1; }
int __stdio_close(FILE *file) { (void)file; return 0; }

static JSValue taken(JSContext *ctx, uint32_t length) {
    char *text = js_malloc(ctx, (size_t)length + 1);
    if (!text) return JS_EXCEPTION;
    are_take(text, length);
    text[length] = 0;
    JSValue value = JS_NewStringLen(ctx, text, length);
    js_free(ctx, text);
    return value;
}

#define NATIVE(name) static JSValue name(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
#define UNUSED (void)self, (void)argc

NATIVE(native_now) {
    UNUSED, (void)ctx, (void)argv;
    return JS_NewFloat64(ctx, are_now());
}

NATIVE(native_random) {
    UNUSED;
    size_t length;
    uint8_t *to = JS_GetUint8Array(ctx, &length, argv[0]);
    if (!to) return JS_EXCEPTION;
    are_random(to, (uint32_t)length);
    return JS_UNDEFINED;
}

NATIVE(native_log) {
    UNUSED;
    size_t length;
    int32_t stream;
    if (JS_ToInt32(ctx, &stream, argv[0])) return JS_EXCEPTION;
    const char *text = JS_ToCStringLen(ctx, &length, argv[1]);
    if (!text) return JS_EXCEPTION;
    are_log((uint32_t)stream, text, (uint32_t)length);
    JS_FreeCString(ctx, text);
    return JS_UNDEFINED;
}

NATIVE(native_ask) {
    UNUSED;
    size_t length;
    const char *request = JS_ToCStringLen(ctx, &length, argv[0]);
    if (!request) return JS_EXCEPTION;
    uint32_t answer = are_ask(request, (uint32_t)length);
    JS_FreeCString(ctx, request);
    return taken(ctx, answer);
}

NATIVE(native_begin) {
    UNUSED;
    size_t length;
    uint32_t number;
    if (JS_ToUint32(ctx, &number, argv[0])) return JS_EXCEPTION;
    const char *request = JS_ToCStringLen(ctx, &length, argv[1]);
    if (!request) return JS_EXCEPTION;
    are_begin(number, request, (uint32_t)length);
    JS_FreeCString(ctx, request);
    return JS_UNDEFINED;
}

NATIVE(native_encode) {
    UNUSED;
    size_t length;
    const char *text = JS_ToCStringLen(ctx, &length, argv[0]);
    if (!text) return JS_EXCEPTION;
    JSValue bytes = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text, length);
    JS_FreeCString(ctx, text);
    return bytes;
}

NATIVE(native_decode) {
    UNUSED;
    size_t length;
    const uint8_t *bytes = JS_GetUint8Array(ctx, &length, argv[0]);
    if (!bytes) return JS_EXCEPTION;
    return JS_NewStringLen(ctx, (const char *)bytes, length);
}

// Evaluates a script under a file's name, so that errors say where they come from.
NATIVE(native_evaluate) {
    UNUSED;
    size_t length;
    const char *name = JS_ToCString(ctx, argv[0]);
    if (!name) return JS_EXCEPTION;
    const char *source = JS_ToCStringLen(ctx, &length, argv[1]);
    if (!source) {
        JS_FreeCString(ctx, name);
        return JS_EXCEPTION;
    }
    JSValue value = JS_Eval(ctx, source, length, name, JS_EVAL_TYPE_GLOBAL);
    JS_FreeCString(ctx, source);
    JS_FreeCString(ctx, name);
    return value;
}

// 0 pending, 1 fulfilled, 2 rejected, -1 no promise.
NATIVE(native_state) {
    UNUSED;
    return JS_NewInt32(ctx, JS_IsPromise(argv[0]) ? (int)JS_PromiseState(ctx, argv[0]) : -1);
}

static const JSCFunctionListEntry natives[] = {
    JS_CFUNC_DEF("now", 0, native_now),
    JS_CFUNC_DEF("random", 1, native_random),
    JS_CFUNC_DEF("log", 2, native_log),
    JS_CFUNC_DEF("ask", 1, native_ask),
    JS_CFUNC_DEF("begin", 2, native_begin),
    JS_CFUNC_DEF("encode", 1, native_encode),
    JS_CFUNC_DEF("decode", 1, native_decode),
    JS_CFUNC_DEF("evaluate", 2, native_evaluate),
    JS_CFUNC_DEF("state", 1, native_state),
};

// What the host enters for; `prelude/door.js` has the same list.
enum { LOAD = 0, CALL = 1, SETTLE = 2, TICK = 3, REPORT = 4, REJECTION = 5 };

static JSValue enter(int what, uint32_t number, JSValueConst first, JSValueConst second) {
    JSValueConst args[] = {JS_NewInt32(context, what), JS_NewUint32(context, number), first, second};
    return JS_Call(context, door, JS_UNDEFINED, 4, args);
}

static void rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool is_handled, void *opaque) {
    (void)opaque;
    // A failure here is a script out of memory, and its next step says so.
    JS_FreeValue(ctx, enter(REJECTION, is_handled, promise, reason));
}

static bool give(JSValue value) {
    size_t length;
    const char *text = JS_IsException(value) ? NULL : JS_ToCStringLen(context, &length, value);
    JS_FreeValue(context, value);
    if (!text) return false;
    are_give(text, (uint32_t)length);
    JS_FreeCString(context, text);
    return true;
}

// Makes the engine and evaluates the prelude, which answers with its door; true when all is well.
GUEST("are_init") int are_init(uint32_t length) {
    // Without a limit of its own: the host refuses memory, and then QuickJS throws.
    runtime = JS_NewRuntime();
    if (!runtime) return 0;
    JS_SetMaxStackSize(runtime, STACK_BYTES);
    context = JS_NewContext(runtime);
    if (!context) return 0;
    JS_SetHostPromiseRejectionTracker(runtime, rejection, NULL);
    char *source = js_malloc(context, (size_t)length + 1);
    if (!source) return 0;
    are_take(source, length);
    source[length] = 0;
    JSValue made = JS_Eval(context, source, length, "are:prelude", JS_EVAL_TYPE_GLOBAL);
    js_free(context, source);
    JSValue native = JS_NewObject(context);
    JS_SetPropertyFunctionList(context, native, natives, countof(natives));
    JSValueConst args[] = {native};
    door = JS_Call(context, made, JS_UNDEFINED, 1, args);
    JS_FreeValue(context, native);
    JS_FreeValue(context, made);
    if (JS_IsException(door)) {
        // For whoever changes the prelude.
        give(JS_GetException(context));
        return 0;
    }
    JS_RunGC(runtime);
    return JS_IsFunction(context, door);
}

// One step: hands the parcel in, does all that can be done without the host, gives a report.
// False when even that failed, which is what a script out of memory comes to.
GUEST("are_enter") int are_enter(uint32_t what, uint32_t number, uint32_t length) {
    JS_UpdateStackTop(runtime);
    JSValue text = taken(context, length);
    JSValue done = JS_IsException(text) ? text : enter((int)what, number, text, JS_UNDEFINED);
    if (!JS_IsException(text)) JS_FreeValue(context, text);
    if (JS_IsException(done)) return 0;
    JS_FreeValue(context, done);
    while (JS_IsJobPending(runtime)) {
        JSContext *of;
        // A job that throws has rejected its promise; one that cannot is out of memory.
        if (JS_ExecutePendingJob(runtime, &of) < 0) return 0;
    }
    return give(enter(REPORT, 0, JS_UNDEFINED, JS_UNDEFINED));
}
