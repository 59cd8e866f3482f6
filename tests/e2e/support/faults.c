// Loaded before the C library of the gateway under test: makes its calls for some files fail or
// take long, as the test says in a file that both have mapped.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// Keep in step with `Faults` in faults.rs.
struct control {
    uint32_t write_errno; // of whatever changes a file or a directory
    uint32_t sync_errno;
    uint32_t read_errno;
    uint32_t read_from; // only reads that touch these KiB of a file fail
    uint32_t read_to;
    uint32_t sync_ms; // how long a sync takes
    uint32_t syncs_begun;
    uint32_t syncs_ended;
    uint32_t failed; // calls that were made to fail
};

static volatile struct control *control;
static const char *name;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    name = getenv("FAULTS_NAME");
    if (!path || !name) return;
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = real_open(path, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED
                      : mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) abort();
    close(fd);
    control = at;
}

static int is_meant(const char *path) { return control && path && strstr(path, name); }

static int is_meant_fd(int fd) {
    if (!control) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return is_meant(path);
}

// Whether this call is to fail.
static int fails(uint32_t error) {
    if (!error) return 0;
    __sync_fetch_and_add(&control->failed, 1);
    errno = (int)error;
    return 1;
}

#define REAL(result, call, ...)                                  \
    static result (*real)(__VA_ARGS__);                          \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, call)

// A read-only file system refuses to open for writing, and says so at once.
static int open_fails(const char *path, int flags) {
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    return writes && is_meant(path) && control->write_errno == EROFS && fails(EROFS);
}

#define OPEN(function)                                   \
    int function(const char *path, int flags, ...) {     \
        REAL(int, #function, const char *, int, ...);    \
        va_list more;                                    \
        va_start(more, flags);                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                    \
        return open_fails(path, flags) ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(function)                                      \
    int function(int dir, const char *path, int flags, ...) { \
        REAL(int, #function, int, const char *, int, ...);    \
        va_list more;                                         \
        va_start(more, flags);                                \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                         \
        return open_fails(path, flags) ? -1 : real(dir, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define WRITES(fd) (is_meant_fd(fd) && fails(control->write_errno))

ssize_t write(int fd, const void *bytes, size_t n) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return WRITES(fd) ? -1 : real(fd, bytes, n);
}

#define PWRITE(function, offset)                                       \
    ssize_t function(int fd, const void *bytes, size_t n, offset at) { \
        REAL(ssize_t, #function, int, const void *, size_t, offset);   \
        return WRITES(fd) ? -1 : real(fd, bytes, n, at);               \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(function, offset)               \
    int function(int fd, offset length) {        \
        REAL(int, #function, int, offset);       \
        return WRITES(fd) ? -1 : real(fd, length); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(function, offset)                             \
    int function(int fd, int mode, offset at, offset length) {  \
        REAL(int, #function, int, int, offset, offset);         \
        return WRITES(fd) ? -1 : real(fd, mode, at, length);    \
    }
FALLOCATE(fallocate, off_t)
FALLOCATE(fallocate64, off64_t)

// These give the error instead of setting it.
#define POSIX_FALLOCATE(function, offset)                        \
    int function(int fd, offset at, offset length) {             \
        REAL(int, #function, int, offset, offset);               \
        return WRITES(fd) ? errno : real(fd, at, length);        \
    }
POSIX_FALLOCATE(posix_fallocate, off_t)
POSIX_FALLOCATE(posix_fallocate64, off64_t)

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return is_meant(path) && fails(control->write_errno) ? -1 : real(path);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return is_meant(from) && fails(control->write_errno) ? -1 : real(from, to);
}

static int read_fails(int64_t at, size_t n) {
    int64_t from = (int64_t)control->read_from * 1024, to = (int64_t)control->read_to * 1024;
    return at < to && at + (int64_t)n > from && fails(control->read_errno);
}

ssize_t read(int fd, void *bytes, size_t n) {
    REAL(ssize_t, "read", int, void *, size_t);
    return is_meant_fd(fd) && read_fails(lseek(fd, 0, SEEK_CUR), n) ? -1 : real(fd, bytes, n);
}

#define PREAD(function, offset)                                  \
    ssize_t function(int fd, void *bytes, size_t n, offset at) { \
        REAL(ssize_t, #function, int, void *, size_t, offset);   \
        return is_meant_fd(fd) && read_fails(at, n) ? -1 : real(fd, bytes, n, at); \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

// Sleeps in short steps, so that a hang that is taken back ends soon.
static void hang(void) {
    struct timespec step = {0, 5 * 1000 * 1000};
    for (uint32_t ms = 0; ms < control->sync_ms; ms += 5) nanosleep(&step, NULL);
}

#define SYNC(function)                                     \
    int function(int fd) {                                 \
        REAL(int, #function, int);                         \
        if (!is_meant_fd(fd)) return real(fd);             \
        __sync_fetch_and_add(&control->syncs_begun, 1);    \
        hang();                                            \
        int result = fails(control->sync_errno) ? -1 : real(fd); \
        __sync_fetch_and_add(&control->syncs_ended, 1);    \
        return result;                                     \
    }
SYNC(fsync)
SYNC(fdatasync)
