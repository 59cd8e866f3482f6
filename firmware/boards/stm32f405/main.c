/*
 * Serialgate on an STM32F405 without any other library: USART1 (PA9 is TX, PA10 RX) at 115200 baud, on
 * the internal clock of 16 MHz. Once a second it sends a count; it sleeps in between.
 *
 * -DQEMU is for `qemu-system-arm -M netduinoplus2`, whose timers run at 1 GHz.
 */

#include "serialgate.h"

#include <string.h>

enum { RING_SIZE = 16384, IN_SIZE = 256, CLOCK_HZ = 16000000, BAUD = 115200 };

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define RCC_AHB1ENR REGISTER(0x40023830)
#define RCC_APB1ENR REGISTER(0x40023840)
#define RCC_APB2ENR REGISTER(0x40023844)
#define GPIOA_MODER REGISTER(0x40020000)
#define GPIOA_AFRH REGISTER(0x40020024)
#define TIM2_CR1 REGISTER(0x40000000)
#define TIM2_EGR REGISTER(0x40000014)
#define TIM2_CNT REGISTER(0x40000024)
#define TIM2_PSC REGISTER(0x40000028)
#define TIM2_ARR REGISTER(0x4000002C)
#define USART1_SR REGISTER(0x40011000)
#define USART1_DR REGISTER(0x40011004)
#define USART1_BRR REGISTER(0x40011008)
#define USART1_CR1 REGISTER(0x4001100C)
#define NVIC_ISER1 REGISTER(0xE000E104)
#define SCB_AIRCR REGISTER(0xE000ED0C)
#define CHIP_ID ((const uint8_t *)0x1FFF7A10)

enum { USART1_IRQ = 37, RXNE = 1U << 5, TXE = 1U << 7 };

static uint8_t in[IN_SIZE];
static volatile uint16_t in_begin, in_end;

static void on_usart1(void) {
    while ((USART1_SR & RXNE) != 0) {
        const uint8_t byte = (uint8_t)USART1_DR;
        const uint16_t next = (uint16_t)((in_end + 1) % IN_SIZE);
        if (next != in_begin) { /* or it is lost, and the frame with it, and sent again */
            in[in_end] = byte;
            in_end = next;
        }
    }
}

static size_t put(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    if (size == 0 || (USART1_SR & TXE) == 0) {
        return 0;
    }
    USART1_DR = *bytes;
    return 1;
}

#ifdef QEMU
enum { TIMER_HZ = 1000000000, TICKS_PER_MS = 1000 };
#else
enum { TIMER_HZ = CLOCK_HZ, TICKS_PER_MS = 2 }; /* the prescaler has 16 bits */
#endif

/* TIM2 counts by itself: no tick is missed, as long as this is called once in a wrap of its 32 bits. */
static uint32_t millis(void *context) {
    (void)context;
    static uint32_t last, rest, ms;
    const uint32_t count = TIM2_CNT;
    rest += count - last;
    last = count;
    ms += rest / TICKS_PER_MS;
    rest %= TICKS_PER_MS;
    return ms;
}

static uint32_t interval = 1000;

static uint8_t command(void *context, sg_link *link, uint8_t number, const uint8_t *arguments, uint8_t size) {
    (void)context;
    (void)link;
    if (number == SG_REBOOT) {
        SCB_AIRCR = 0x05FA0004;
        for (;;) {
        }
    }
    if (number != SG_INTERVAL) {
        return SG_UNKNOWN;
    }
    uint32_t wanted = 0;
    for (uint8_t i = 4; i-- > 0 && size >= 4;) {
        wanted = wanted << 8 | arguments[i];
    }
    if (wanted < 10) {
        return SG_REFUSED;
    }
    interval = wanted;
    return SG_OK;
}

/* Counts the boots in RAM that the start-up code leaves alone. After a loss of power it begins with what
 * the RAM happens to hold. */
static uint32_t boot_number(void) {
    __attribute__((section(".noinit"))) static uint32_t boot, check;
    extern uint8_t noinit_end[], stack_top[];
    if (check != ~boot) {
        boot = sg_crc(0, noinit_end, (size_t)(stack_top - noinit_end));
    }
    boot++;
    check = ~boot;
    return boot;
}

static void begin_hardware(void) {
    RCC_AHB1ENR |= 1U << 0;
    RCC_APB1ENR |= 1U << 0;
    RCC_APB2ENR |= 1U << 4;
    GPIOA_MODER = (GPIOA_MODER & ~(0xFU << 18)) | (0xAU << 18);
    GPIOA_AFRH = (GPIOA_AFRH & ~(0xFFU << 4)) | (0x77U << 4);
    TIM2_PSC = TIMER_HZ / 1000 / TICKS_PER_MS - 1;
    TIM2_ARR = UINT32_MAX;
    TIM2_EGR = 1;
    TIM2_CR1 = 1;
    USART1_BRR = (CLOCK_HZ + BAUD / 2) / BAUD;
    USART1_CR1 = 0x202C; /* on, both ways, an interrupt for each byte that comes */
    NVIC_ISER1 = 1U << (USART1_IRQ - 32);
}

int main(void) {
    static sg_link link;
    static uint8_t ring[RING_SIZE];
    static sg_config config = {NULL, put, millis, NULL, command, CHIP_ID, 12, "stm32f405 1.0"};
    static sg_channel number = {"n", "1", SG_FORMAT(SG_U32, 0), SG_COUNTER, 0, NULL};
    begin_hardware();
#ifdef QEMU
    static const uint8_t uid[] = "stm32-qemu";
    config.uid = uid;
    config.uid_size = sizeof uid - 1;
#endif
    sg_begin(&link, &config, boot_number(), ring, sizeof ring);
    sg_add_channel(&link, &number);
    uint32_t last = 0;
    int32_t made = 0;
    for (;;) {
        while (in_begin != in_end) {
            sg_receive(&link, in[in_begin]);
            in_begin = (uint16_t)((in_begin + 1) % IN_SIZE);
        }
        sg_poll(&link);
        if (millis(NULL) - last >= interval) {
            last += interval;
            sg_int(&link, &number, made++);
            sg_end(&link);
        }
    }
}

/* ---- What a C library and start-up code would do */

void *memset(void *to, int value, size_t size) {
    uint8_t *at = to;
    while (size-- > 0) {
        *at++ = (uint8_t)value;
    }
    return to;
}

void *memcpy(void *to, const void *from, size_t size) { return memmove(to, from, size); }

void *memmove(void *to, const void *from, size_t size) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if (target < source) {
        while (size-- > 0) {
            *target++ = *source++;
        }
    } else {
        while (size-- > 0) {
            target[size] = source[size];
        }
    }
    return to;
}

size_t strlen(const char *text) {
    const char *end = text;
    while (*end != 0) {
        end++;
    }
    return (size_t)(end - text);
}

void start(void);

void start(void) {
    extern uint8_t data_begin[], data_end[], data_image[], bss_begin[], bss_end[];
    memcpy(data_begin, data_image, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    main();
}

static void stop(void) {
    for (;;) {
    }
}

typedef void (*handler)(void);
extern uint8_t stack_top[];

/* Stack, reset, and the faults; the interrupts begin at 16. */
__attribute__((section(".vectors"), used)) static const handler vectors[16 + USART1_IRQ + 1] = {
    [0] = (handler)(uintptr_t)stack_top, [1] = start, [2] = stop, [3] = stop, [4] = stop, [5] = stop, [6] = stop,
    [16 + USART1_IRQ] = on_usart1,
};
