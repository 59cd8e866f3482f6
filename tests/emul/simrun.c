/*
 * An Arduino Uno on a pseudo-terminal, at the pace of the real one.
 *
 *   simrun FIRMWARE LINK [EEPROM]
 *
 * LINK becomes a symbolic link to the serial port. EEPROM is a file that holds the chip's 1024 bytes
 * from one run to the next. Standard input takes commands, one a line, and its end ends the board:
 *
 *   adc CHANNEL MILLIVOLTS     what is at an analog input; 2500 at first
 *   pin PORT BIT LEVEL         what is at a digital input: pin D 2 0
 *   reset                      the button: RAM stays as it is
 *   autoreset                  from now on the board is reset when its port is opened, as DTR does it,
 *                              and its bootloader takes 1.6 s
 *   power                      off and on again: RAM holds noise
 *   unplug, plug               the serial line alone; the board goes on
 *
 * What nobody reads is gone: while LINK is not open, the board talks to nobody.
 *
 * This program links with simavr, which is free software under the GNU General Public License, version 3.
 * It is a program of its own, under the same licence, and no part of the gateway:
 *
 * Copyright (C) 2026 The Serialgate contributors
 *
 * This program is free software: you can redistribute it and/or modify it under the terms of the GNU
 * General Public License as published by the Free Software Foundation, either version 3 of the License,
 * or (at your option) any later version. It is distributed in the hope that it will be useful, but WITHOUT
 * ANY WARRANTY; without even the implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.
 * See the GNU General Public License for more details: <https://www.gnu.org/licenses/>.
 */

#define _GNU_SOURCE

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <avr_adc.h>
#include <avr_eeprom.h>
#include <avr_ioport.h>
#include <avr_uart.h>
#include <sim_avr.h>
#include <sim_elf.h>

enum {
    FREQUENCY = 16000000,
    CYCLES_PER_MS = FREQUENCY / 1000,
    /* Start bit, eight data bits, stop bit at 115200 baud. */
    CYCLES_PER_BYTE = 1389,
    SUPPLY_MV = 5000,
    BOOTLOADER_MS = 1600,
    EEPROM_SIZE = 1024
};

static avr_t *avr;
static const char *link_path;
static int master = -1; /* -1: unplugged */
static bool is_open;    /* somebody has opened the port */
static bool autoreset;  /* which resets the board */
static int held_ms;     /* the bootloader's time that is left */
static bool takes;      /* the UART has room for a byte */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void plug(void) {
    int slave;
    char name[64];
    struct termios mode;
    if (openpty(&master, &slave, name, NULL, NULL) != 0) {
        fail("openpty");
    }
    tcgetattr(slave, &mode);
    cfmakeraw(&mode);
    tcsetattr(slave, TCSANOW, &mode);
    close(slave); /* or nobody could see that it is not open */
    fcntl(master, F_SETFL, O_NONBLOCK);
    unlink(link_path);
    if (symlink(name, link_path) != 0) {
        fail(link_path);
    }
}

static void unplug(void) {
    if (master >= 0) {
        unlink(link_path);
        close(master);
        master = -1;
        is_open = false;
    }
}

static void on_output(struct avr_irq_t *irq, uint32_t value, void *context) {
    (void)irq;
    (void)context;
    const uint8_t byte = (uint8_t)value;
    if (is_open && write(master, &byte, 1) != 1) {
        is_open = false;
    }
}

static void on_flow(struct avr_irq_t *irq, uint32_t value, void *context) {
    (void)irq;
    (void)value;
    takes = context != NULL;
}

/* The pace is kept in one place, and not here. */
static void no_sleep(avr_t *of, avr_cycle_count_t cycles) {
    (void)of;
    (void)cycles;
}

static avr_irq_t *uart(int irq) { return avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), irq); }

static void set_input(uint32_t ioctl, int index, uint32_t value) {
    avr_irq_t *irq = avr_io_getirq(avr, ioctl, index);
    if (irq != NULL) {
        avr_raise_irq(irq, value);
    }
}

static void reset(void) {
    avr_reset(avr);
    takes = true;
}

/* RAM after power-on holds anything. */
static void power(void) {
    const uint16_t begin = avr->ioend + 1;
    if (getrandom(avr->data + begin, (size_t)(avr->ramend + 1 - begin), 0) < 0) {
        fail("getrandom");
    }
    reset();
}

static void command(const char *line) {
    char word[16] = "", port;
    int index;
    unsigned value;
    if (sscanf(line, "adc %d %u", &index, &value) == 2 && index >= 0 && index < 8) {
        set_input(AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0 + index, value);
    } else if (sscanf(line, "pin %c %d %u", &port, &index, &value) == 3 && index >= 0 && index < 8) {
        set_input(AVR_IOCTL_IOPORT_GETIRQ(port), index, value);
    } else if (sscanf(line, "%15s", word) == 1 && strcmp(word, "reset") == 0) {
        reset();
    } else if (strcmp(word, "autoreset") == 0) {
        autoreset = true;
    } else if (strcmp(word, "power") == 0) {
        power();
    } else if (strcmp(word, "unplug") == 0) {
        unplug();
    } else if (strcmp(word, "plug") == 0) {
        unplug();
        plug();
    } else {
        fprintf(stderr, "simrun: no such command: %s\n", line);
        exit(2);
    }
}

/* Takes what came on standard input; false at its end. */
static bool commands(void) {
    static char line[128];
    static size_t size;
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    while (poll(&input, 1, 0) > 0) {
        char byte;
        if (read(STDIN_FILENO, &byte, 1) != 1) {
            return false;
        }
        if (byte == '\n') {
            line[size] = 0;
            size = 0;
            command(line);
        } else if (size < sizeof line - 1) {
            line[size++] = byte;
        }
    }
    return true;
}

static void load_eeprom(const char *path) {
    uint8_t bytes[EEPROM_SIZE];
    FILE *file = fopen(path, "rb");
    if (file != NULL) {
        avr_eeprom_desc_t image = {bytes, 0, (uint32_t)fread(bytes, 1, sizeof bytes, file)};
        fclose(file);
        avr_ioctl(avr, AVR_IOCTL_EEPROM_SET, &image);
    }
}

static void save_eeprom(const char *path) {
    avr_eeprom_desc_t image = {NULL, 0, EEPROM_SIZE};
    avr_ioctl(avr, AVR_IOCTL_EEPROM_GET, &image);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(image.ee, 1, EEPROM_SIZE, file) != EEPROM_SIZE || fclose(file) != 0) {
        fail(path);
    }
}

static void start(const char *firmware) {
    elf_firmware_t image;
    memset(&image, 0, sizeof image);
    if (elf_read_firmware(firmware, &image) != 0) {
        fail(firmware);
    }
    avr = avr_make_mcu_by_name("atmega328p");
    avr_init(avr);
    avr->log = LOG_ERROR;
    image.frequency = FREQUENCY;
    avr_load_firmware(avr, &image);
    avr->sleep = no_sleep;
    avr->vcc = avr->avcc = avr->aref = SUPPLY_MV;
    uint32_t flags = 0;
    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_irq_register_notify(uart(UART_IRQ_OUTPUT), on_output, NULL);
    avr_irq_register_notify(uart(UART_IRQ_OUT_XON), on_flow, avr);
    avr_irq_register_notify(uart(UART_IRQ_OUT_XOFF), on_flow, NULL);
    for (int channel = 0; channel < 8; channel++) {
        set_input(AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0 + channel, SUPPLY_MV / 2);
    }
    power();
}

/* One millisecond; false: the chip has stopped for ever. */
static bool run(avr_cycle_count_t until) {
    static uint8_t input[256];
    static ssize_t size, at;
    static avr_cycle_count_t next_byte;
    if (at == size) {
        at = 0;
        size = master < 0 ? 0 : read(master, input, sizeof input);
        size = size < 0 ? 0 : size;
    }
    while (avr->cycle < until) {
        if (at < size && takes && avr->cycle >= next_byte) {
            avr_raise_irq(uart(UART_IRQ_INPUT), input[at++]);
            next_byte = avr->cycle + CYCLES_PER_BYTE;
        }
        const int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            return false;
        }
    }
    return true;
}

static void look_whether_open(void) {
    if (master >= 0) {
        struct pollfd port = {master, 0, 0};
        poll(&port, 1, 0);
        const bool was_open = is_open;
        is_open = (port.revents & POLLHUP) == 0;
        if (autoreset && is_open && !was_open) {
            reset();
            held_ms = BOOTLOADER_MS;
        }
    }
}

/* One millisecond of the bootloader, which takes what comes. */
static void hold(void) {
    uint8_t nothing[256];
    held_ms--;
    while (master >= 0 && read(master, nothing, sizeof nothing) > 0) {
    }
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int main(int count, char **arguments) {
    if (count < 3 || count > 4) {
        fputs("usage: simrun FIRMWARE LINK [EEPROM]\n", stderr);
        return 2;
    }
    link_path = arguments[2];
    start(arguments[1]);
    if (count > 3) {
        load_eeprom(arguments[3]);
    }
    plug();
    const uint64_t began = now_ns();
    bool runs = true;
    uint64_t ran_ms = 0;
    for (uint64_t ms = 1; commands(); ms++) {
        look_whether_open();
        if (held_ms > 0) {
            hold();
        } else if (!run(++ran_ms * CYCLES_PER_MS)) {
            runs = false;
            fputs("simrun: the chip has stopped\n", stderr);
            break;
        }
        const uint64_t due = began + ms * 1000000;
        const uint64_t now = now_ns();
        if (due > now) {
            const struct timespec rest = {(time_t)((due - now) / 1000000000), (long)((due - now) % 1000000000)};
            nanosleep(&rest, NULL);
        }
    }
    if (count > 3) {
        save_eeprom(arguments[3]);
    }
    unplug();
    return runs ? 0 : 1;
}
