/* Hides AVX-512, VNNI and AMX from every library of a process: what is measured then is a CPU with AVX2.
 *
 * The system can make the instruction cpuid fault (arch_prctl, ARCH_SET_CPUID); the handler runs it and clears the bits
 * of what an AVX2 CPU does not have. Built and preloaded by older_cpu.py. Linux on x86-64 alone.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

/* Leaf 7: AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, GFNI, VNNI, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS,
 * VP2INTERSECT, AMX-BF16, AVX512-FP16, AMX-TILE, AMX-INT8. */
static const uint32_t hidden_b = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
static const uint32_t hidden_c = BIT(1) | BIT(6) | BIT(8) | BIT(11) | BIT(12) | BIT(14);
static const uint32_t hidden_d = BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25);
/* Its second part: AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA; AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16. */
static const uint32_t hidden_a1 = BIT(4) | BIT(5) | BIT(21) | BIT(23);
static const uint32_t hidden_d1 = BIT(4) | BIT(5) | BIT(10);

static long let_cpuid_run(unsigned long on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, on); }

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    (void)number, (void)info;
    if (code[0] != 0x0f || code[1] != 0xa2) { /* a fault of another kind: it comes again and ends the process */
        signal(SIGSEGV, SIG_DFL);
        return;
    }
    uint32_t a = registers[REG_RAX], c = registers[REG_RCX], b, d;
    const uint32_t leaf = a, part = c;
    let_cpuid_run(1);
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    let_cpuid_run(0);
    if (leaf == 7 && part == 0) b &= ~hidden_b, c &= ~hidden_c, d &= ~hidden_d;
    if (leaf == 7 && part == 1) a &= ~hidden_a1, d &= ~hidden_d1;
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    struct sigaction action = {0};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
    if (let_cpuid_run(0) != 0) {
        fputs("older_cpu: this CPU or system cannot make cpuid fault\n", stderr);
        exit(1);
    }
}
