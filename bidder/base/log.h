/* Log lines on standard error: time, level, pid, text.
 * error: a person must act; warn: a person may want to know; info: life of the process;
 * debug: off by default. Never a raw device id, user id or IP. */
#pragma once

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_get_level() >= LOG_DEBUG) {                                                        \
            log_write(LOG_DEBUG, __VA_ARGS__);                                                     \
        }                                                                                          \
    } while (0)
