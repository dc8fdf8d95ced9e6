//! The seccomp layer: builds the filter program and installs it on all threads.

use super::syscalls::{ALLOWED, DEVICE, DEVICE_FILES, KILLED};
use super::{SandboxError, SandboxKind};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// `AUDIT_ARCH_*` of linux/audit.h: the value of `seccomp_data.arch` for native calls.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xC000_00B7;

/// The flags with which glibc and musl start a thread (`CLONE_DETACHED` is musl's, and without
/// meaning since Linux 2.6). Any other combination would be a process or a namespace.
const THREAD_FLAGS: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u64;

/// `_IOWR('f', 16, struct pm_scan_arg)` of linux/fs.h, with its 96 bytes: wasmtime's pooling
/// allocator asks which pages of an instance were touched.
const PAGEMAP_SCAN: u64 = 0xC060_6610;

/// `PIDFD_SELF` of linux/pidfd.h, the only process that `process_madvise` may name.
const PIDFD_SELF: u64 = (-10000_i32) as u32 as u64;

/// The first of the `madvise` values that act on physical memory (`MADV_HWPOISON`); they would
/// let a worker with root rights take pages away from the whole machine.
const MADV_PHYSICAL: u64 = 100;

/// The futex operations that locks, condition variables and parking use. The priority-inheriting
/// ones, unused here, have been a way into the kernel more than once.
const FUTEX_OPERATIONS: [i32; 7] = [
    libc::FUTEX_WAIT_BITSET,
    libc::FUTEX_WAKE,
    libc::FUTEX_WAIT,
    libc::FUTEX_WAKE_BITSET,
    libc::FUTEX_REQUEUE,
    libc::FUTEX_CMP_REQUEUE,
    libc::FUTEX_WAKE_OP,
];

/// Descriptor commands that touch this process's table only, and seals of memory files.
/// `F_SETFL`, `F_SETOWN` and their like act on the open file, which the supervisor may share.
const FCNTL_COMMANDS: [i32; 6] = [
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_DUPFD_CLOEXEC,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
];

/// Installs the filter for `kind` on all threads of the process.
pub(super) fn install(kind: SandboxKind) -> Result<(), SandboxError> {
    apply(program(kind))
}

/// Installs the filter of a worker with a device; `files`: it may open what Landlock lets it.
pub(super) fn install_for_device(files: bool) -> Result<(), SandboxError> {
    apply(device_program(files))
}

fn apply(program: Result<BpfProgram, BackendError>) -> Result<(), SandboxError> {
    let program = program.map_err(|error| SandboxError::Seccomp {
        reason: error.to_string(),
    })?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| SandboxError::Seccomp {
        reason: error.to_string(),
    })
}

/// One program rather than several stacked filters: the kernel remembers which calls a filter
/// always allows, and a later filter cannot be installed under an earlier one that forbids it.
fn program(kind: SandboxKind) -> Result<BpfProgram, BackendError> {
    with_prologue(rules(kind)?)
}

fn device_program(files: bool) -> Result<BpfProgram, BackendError> {
    let mut rules = rules(SandboxKind::Device)?;
    let more = DEVICE.iter().chain(if files { DEVICE_FILES } else { &[] });
    rules.extend(more.map(|number| (*number, vec![])));
    with_prologue(rules)
}

fn with_prologue(rules: BTreeMap<i64, Vec<SeccompRule>>) -> Result<BpfProgram, BackendError> {
    let filter = SeccompFilter::new(rules, errno(libc::EPERM), SeccompAction::Allow, ARCH)?;
    let allow_list: BpfProgram = filter.try_into()?;
    let mut program = prologue();
    program.extend(allow_list);
    Ok(program)
}

/// Answers the calls whose action is neither "allow" nor `EPERM`, which the filter builder cannot
/// express beside those two. All jumps are relative, so a complete program may follow.
fn prologue() -> BpfProgram {
    // Opcodes of linux/bpf_common.h: load a word at an absolute offset, compare with a constant,
    // return a constant. `struct seccomp_data` starts with the number, then the architecture.
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let kill = u32::from(SeccompAction::KillProcess);

    let mut program = vec![
        // A call through another architecture's entry has other numbers: never let one pass.
        step(LOAD, 0, 0, 4),
        step(JUMP_IF_EQUAL, 1, 0, AUDIT_ARCH),
        step(RETURN, 0, 0, kill),
        step(LOAD, 0, 0, 0),
    ];
    let special = KILLED
        .iter()
        .map(|(_, number)| (*number, kill))
        .chain([(libc::SYS_clone3, u32::from(errno(libc::ENOSYS)))]);
    for (number, answer) in special {
        // System call numbers are small and positive on both architectures.
        program.push(step(JUMP_IF_EQUAL, 0, 1, number as u32));
        program.push(step(RETURN, 0, 0, answer));
    }
    program
}

/// The allow-list. A call with no rule is allowed always, one with rules if any of them holds.
fn rules(kind: SandboxKind) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|number| (*number, vec![])).collect();

    rules.insert(
        libc::SYS_clone,
        vec![rule(&[masked64(
            0,
            !(libc::CLONE_DETACHED as u64),
            THREAD_FLAGS,
        )])?],
    );
    rules.insert(
        libc::SYS_futex,
        each(&FUTEX_OPERATIONS, |operation| masked(1, 0x7F, operation))?,
    );
    rules.insert(
        libc::SYS_fcntl,
        each(&FCNTL_COMMANDS, |command| equal(1, command))?,
    );
    // Only to threads of this process: `abort` and `raise` need it.
    let own_process = rustix::process::getpid().as_raw_nonzero().get() as u64;
    rules.insert(libc::SYS_tgkill, vec![rule(&[equal(0, own_process)])?]);
    // Reading one's own limits, never setting any.
    rules.insert(
        libc::SYS_prlimit64,
        vec![rule(&[equal(0, 0), equal64(2, 0)])?],
    );
    // `send` is `sendto` without an address.
    rules.insert(libc::SYS_sendto, vec![rule(&[equal64(4, 0)])?]);
    rules.insert(
        libc::SYS_madvise,
        vec![rule(&[(
            2,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Lt,
            MADV_PHYSICAL,
        )])?],
    );
    // Names of threads and of memory areas, for people who look at the process.
    rules.insert(
        libc::SYS_prctl,
        vec![
            rule(&[equal(0, libc::PR_SET_NAME as u64)])?,
            rule(&[equal(0, libc::PR_GET_NAME as u64)])?,
            rule(&[equal(0, libc::PR_SET_VMA as u64)])?,
        ],
    );

    match kind {
        SandboxKind::Worker | SandboxKind::Device => {
            rules.insert(libc::SYS_mmap, vec![]);
            rules.insert(libc::SYS_mprotect, vec![]);
            rules.insert(libc::SYS_ioctl, vec![rule(&[equal(1, PAGEMAP_SCAN)])?]);
            // The pooling allocator gives many ranges back in one call where the kernel can.
            rules.insert(
                libc::SYS_process_madvise,
                vec![rule(&[
                    equal(0, PIDFD_SELF),
                    equal(3, libc::MADV_DONTNEED as u64),
                ])?],
            );
            // Initial memory images are mapped copy-on-write from anonymous files. Huge pages
            // come from a pool shared by the machine, so only the plain flags stay.
            let plain = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | libc::MFD_NOEXEC_SEAL;
            rules.insert(
                libc::SYS_memfd_create,
                vec![rule(&[masked(1, u64::from(!plain), 0)])?],
            );
        }
        SandboxKind::Compile => {
            let not_executable = rule(&[masked(2, libc::PROT_EXEC as u64, 0)])?;
            rules.insert(libc::SYS_mmap, vec![not_executable.clone()]);
            rules.insert(libc::SYS_mprotect, vec![not_executable]);
        }
    }
    Ok(rules)
}

/// A condition on one argument: its index, how many of its bits the kernel looks at, comparison.
type Condition = (u8, SeccompCmpArgLen, SeccompCmpOp, u64);

/// For arguments that the kernel takes as a 32-bit integer: the upper half must not matter here
/// either, or garbage in it would turn a refusal into something else.
fn equal(argument: u8, value: u64) -> Condition {
    (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// For pointers and other 64-bit arguments.
fn equal64(argument: u8, value: u64) -> Condition {
    (argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Condition {
    (
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(mask),
        value,
    )
}

fn masked64(argument: u8, mask: u64, value: u64) -> Condition {
    (
        argument,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(mask),
        value,
    )
}

/// A rule that holds if all `conditions` do.
fn rule(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions
        .iter()
        .map(|(argument, length, operator, value)| {
            SeccompCondition::new(*argument, length.clone(), operator.clone(), *value)
        })
        .collect::<Result<Vec<_>, _>>()?;
    SeccompRule::new(conditions)
}

/// One rule per value.
fn each(
    values: &[i32],
    condition: impl Fn(u64) -> Condition,
) -> Result<Vec<SeccompRule>, BackendError> {
    values
        .iter()
        .map(|value| rule(&[condition(*value as u64)]))
        .collect()
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers, by running the program as the kernel does (the five classes of
    /// instruction that such programs use).
    fn answer(program: &[sock_filter], arch: u32, number: i64, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend((number as u32).to_le_bytes());
        data.extend(arch.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let step = &program[at];
            let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            at += 1;
            match step.code {
                0x20 => {
                    let offset = step.k as usize;
                    accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                }
                0x54 => accumulator &= step.k,
                0x05 => at += step.k as usize,
                0x15 => at += jump(accumulator == step.k),
                0x25 => at += jump(accumulator > step.k),
                0x35 => at += jump(accumulator >= step.k),
                0x06 => return step.k,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    const ALLOW: u32 = 0x7FFF_0000;
    const KILL: u32 = 0x8000_0000;
    const EPERM: u32 = 0x0005_0000 | libc::EPERM as u32;
    const ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;

    fn native(kind: SandboxKind, number: i64, arguments: [u64; 6]) -> u32 {
        answer(&program(kind).unwrap(), AUDIT_ARCH, number, arguments)
    }

    #[test]
    fn the_program_fits_the_kernel() {
        for kind in [SandboxKind::Worker, SandboxKind::Compile] {
            let length = program(kind).unwrap().len();
            assert!(length < 1024, "{length} of at most 4096 instructions");
        }
    }

    #[test]
    fn only_threads_can_be_made() {
        let clone =
            |flags: u64| native(SandboxKind::Worker, libc::SYS_clone, [flags, 0, 0, 0, 0, 0]);
        assert_eq!(clone(THREAD_FLAGS), ALLOW);
        assert_eq!(clone(0x3D_0F00), ALLOW, "glibc");
        assert_eq!(clone(0x7D_0F00), ALLOW, "musl");
        assert_eq!(clone(libc::SIGCHLD as u64), EPERM, "fork");
        for flag in [
            libc::CLONE_VFORK,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWNS,
            libc::CLONE_NEWPID,
            libc::CLONE_PTRACE,
            libc::CLONE_PIDFD,
        ] {
            assert_eq!(clone(THREAD_FLAGS | flag as u64), EPERM);
        }
        assert_eq!(clone(THREAD_FLAGS & !(libc::CLONE_THREAD as u64)), EPERM);
        assert_eq!(clone(THREAD_FLAGS | 1 << 32), EPERM, "upper half");
        assert_eq!(
            native(SandboxKind::Worker, libc::SYS_clone3, [0; 6]),
            ENOSYS
        );
    }

    #[test]
    fn foreign_entries_and_hostile_calls_kill() {
        let program = program(SandboxKind::Worker).unwrap();
        // i386 and arm: there the number of `read` is 3, here that is `close` or an old call.
        for foreign in [0x4000_0003, 0x4000_0028] {
            assert_eq!(answer(&program, foreign, libc::SYS_read, [0; 6]), KILL);
        }
        for (name, number) in KILLED {
            assert_eq!(
                answer(&program, AUDIT_ARCH, *number, [0; 6]),
                KILL,
                "{name}"
            );
        }
        // x32 shares the architecture's value and sets bit 30 of the number.
        let x32 = libc::SYS_read | 0x4000_0000;
        assert_eq!(answer(&program, AUDIT_ARCH, x32, [0; 6]), EPERM);
    }

    #[test]
    fn signals_stay_in_the_process() {
        let own = u64::from(std::process::id());
        let tgkill = |process: u64| {
            native(
                SandboxKind::Worker,
                libc::SYS_tgkill,
                [process, 1, 0, 0, 0, 0],
            )
        };
        assert_eq!(tgkill(own), ALLOW);
        assert_eq!(tgkill(own + 1), EPERM);
        assert_eq!(
            native(SandboxKind::Worker, libc::SYS_kill, [own, 0, 0, 0, 0, 0]),
            EPERM
        );
    }

    #[test]
    fn only_a_worker_maps_executable_memory() {
        for number in [libc::SYS_mmap, libc::SYS_mprotect] {
            let with =
                |kind, protection: i32| native(kind, number, [0, 4096, protection as u64, 0, 0, 0]);
            let (plain, code) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_EXEC);
            assert_eq!(with(SandboxKind::Worker, code), ALLOW);
            assert_eq!(with(SandboxKind::Compile, plain), ALLOW);
            assert_eq!(with(SandboxKind::Compile, code), EPERM);
        }
    }

    #[test]
    fn arguments_decide() {
        let worker = |number, arguments| native(SandboxKind::Worker, number, arguments);
        assert_eq!(
            worker(libc::SYS_ioctl, [3, PAGEMAP_SCAN, 0, 0, 0, 0]),
            ALLOW
        );
        assert_eq!(
            worker(libc::SYS_ioctl, [3, libc::TIOCSTI, 0, 0, 0, 0]),
            EPERM
        );
        assert_eq!(worker(libc::SYS_madvise, [0, 0, 4, 0, 0, 0]), ALLOW);
        assert_eq!(worker(libc::SYS_madvise, [0, 0, 100, 0, 0, 0]), EPERM);
        assert_eq!(
            worker(libc::SYS_process_madvise, [PIDFD_SELF, 0, 0, 4, 0, 0]),
            ALLOW
        );
        assert_eq!(worker(libc::SYS_process_madvise, [5, 0, 0, 4, 0, 0]), EPERM);
        let private = libc::FUTEX_PRIVATE_FLAG;
        let futex = |operation: i32| worker(libc::SYS_futex, [0, operation as u64, 0, 0, 0, 0]);
        assert_eq!(futex(libc::FUTEX_WAKE | private), ALLOW);
        assert_eq!(
            futex(libc::FUTEX_WAIT_BITSET | private | libc::FUTEX_CLOCK_REALTIME),
            ALLOW,
            "joining a thread"
        );
        assert_eq!(futex(libc::FUTEX_LOCK_PI | private), EPERM);
        assert_eq!(
            worker(libc::SYS_fcntl, [3, libc::F_SETFL as u64, 0, 0, 0, 0]),
            EPERM
        );
        assert_eq!(
            worker(libc::SYS_memfd_create, [0, 7, 0, 0, 0, 0]),
            EPERM,
            "huge pages"
        );
        assert_eq!(worker(libc::SYS_prlimit64, [0, 7, 0x1000, 0, 0, 0]), EPERM);
        assert_eq!(worker(libc::SYS_sendto, [3, 0, 0, 0, 0x1000, 16]), EPERM);
    }
}
