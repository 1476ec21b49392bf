/**
 * The few Linux system calls that Node does not offer, through koffi. Everything here is synchronous except
 * {@link pollAsync}, which waits on the thread pool.
 */
import koffi from "koffi";
import { FabricError } from "../model/errors.ts";

const libc = koffi.load("libc.so.6");

koffi.struct("sock_fprog", { len: "uint16_t", filter: "void *" });

const call = {
  socket: libc.func("int socket(int domain, int type, int protocol)"),
  setsockopt: libc.func("int setsockopt(int fd, int level, int name, void *value, uint32_t size)"),
  attachFilter: libc.func("setsockopt", "int", ["int", "int", "int", "sock_fprog *", "uint32_t"]),
  getsockopt: libc.func("int getsockopt(int fd, int level, int name, void *value, uint32_t *size)"),
  getsockname: libc.func("int getsockname(int fd, void *address, uint32_t *size)"),
  bind: libc.func("int bind(int fd, void *address, uint32_t size)"),
  connect: libc.func("int connect(int fd, void *address, uint32_t size)"),
  listen: libc.func("int listen(int fd, int backlog)"),
  recvmmsg: libc.func(
    "int recvmmsg(int fd, void *messages, uint32_t count, int flags, void *timeout)",
  ),
  sendmmsg: libc.func("int sendmmsg(int fd, void *messages, uint32_t count, int flags)"),
  send: libc.func("int64_t send(int fd, void *data, size_t size, int flags)"),
  recvfrom: libc.func(
    "int64_t recvfrom(int fd, void *buffer, size_t size, int flags, void *address, void *addressBytes)",
  ),
  mmap: libc.func(
    "void *mmap(void *hint, size_t length, int protection, int flags, int fd, int64_t offset)",
  ),
  munmap: libc.func("int munmap(void *address, size_t length)"),
  poll: libc.func("int poll(void *fds, uint64_t count, int timeoutMs)"),
  epoll_create1: libc.func("int epoll_create1(int flags)"),
  epoll_ctl: libc.func("int epoll_ctl(int epollFd, int operation, int fd, void *event)"),
  epoll_wait: libc.func("int epoll_wait(int epollFd, void *events, int count, int timeoutMs)"),
  eventfd: libc.func("int eventfd(uint32_t initial, int flags)"),
  setns: libc.func("int setns(int fd, int kind)"),
  ioctl: libc.func("int ioctl(int fd, uint64_t request, void *argument)"),
  if_nametoindex: libc.func("uint32_t if_nametoindex(const char *name)"),
  flock: libc.func("int flock(int fd, int operation)"),
  fcntl: libc.func("int fcntl(int fd, int command, ...)"),
  // No wrappers before glibc 2.36.
  pidfdOpen: libc.func("syscall", "long", ["long", "int", "uint"]),
  pidfdSendSignal: libc.func("syscall", "long", ["long", "int", "int", "void *", "uint"]),
};

/** Memory shared with the kernel; {@link MappedMemory.unmap} ends it, and the bytes must not be touched afterwards. */
export interface MappedMemory {
  readonly buffer: ArrayBuffer;
  /** Where it starts, for structures that the kernel reads. */
  readonly address: bigint;
  unmap(): void;
}

const ERRNO_NAMES = new Map(Object.entries(koffi.os.errno).map(([name, code]) => [code, name]));

/** The name of the last failed call's error, for example `EPERM`. */
export function lastErrno(): string {
  return errnoName(koffi.errno());
}

/** The name of an errno, for example `ENODEV`. */
export function errnoName(code: number): string {
  return ERRNO_NAMES.get(code) ?? `errno ${code}`;
}

function checked(result: number, action: string): number {
  if (result >= 0) return result;
  const name = lastErrno();
  const hint = name === "EPERM" || name === "EACCES" ? "; run it as root" : "";
  throw new FabricError("ERR_NET_SYSTEM_CALL", `Cannot ${action}: ${name}${hint}`);
}

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export function openSocket(domain: number, type: number, protocol: number): number {
  return checked(call.socket(domain, type | SOCK_CLOEXEC, protocol), "open a socket");
}

export function setSocketOption(fd: number, level: number, name: number, value: Buffer): void {
  checked(
    call.setsockopt(fd, level, name, value, value.length),
    `set socket option ${level}/${name}`,
  );
}

/** Sets an option whose value is one int. */
export function setSocketFlag(fd: number, level: number, name: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  setSocketOption(fd, level, name, bytes);
}

/** Attaches a classic BPF program (8 bytes an instruction). `filter` is copied by the kernel. */
export function attachSocketFilter(fd: number, filter: Buffer): void {
  const SOL_SOCKET = 1;
  const SO_ATTACH_FILTER = 26;
  const program = { len: filter.length / 8, filter };
  checked(
    call.attachFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, 16),
    "attach a packet filter",
  );
}

/** Reads an option into `value`; returns how many bytes the kernel wrote. */
export function getSocketOption(fd: number, level: number, name: number, value: Buffer): number {
  const size = new Uint32Array([value.length]);
  checked(call.getsockopt(fd, level, name, value, size), `read socket option ${level}/${name}`);
  return size[0]!;
}

/** What a socket is bound to, as its family's sockaddr of `sizeBytes`. */
export function socketName(fd: number, sizeBytes: number): Buffer {
  const address = Buffer.alloc(sizeBytes);
  const size = new Uint32Array([sizeBytes]);
  checked(call.getsockname(fd, address, size), "read what a socket is bound to");
  return address;
}

export function bindSocket(fd: number, address: Buffer, what: string): void {
  checked(call.bind(fd, address, address.length), `bind to ${what}`);
}

export function listenSocket(fd: number, backlog: number): void {
  checked(call.listen(fd, backlog), "listen");
}

/** Starts connecting a non-blocking socket. @returns undefined when under way, else the errno name */
export function startConnect(fd: number, address: Buffer): string | undefined {
  if (call.connect(fd, address, address.length) === 0) return undefined;
  const name = lastErrno();
  return name === "EINPROGRESS" ? undefined : name;
}

/**
 * Sends `count` messages (struct mmsghdr) that start at `address`, without waiting.
 *
 * @returns how many were sent, from the first on; -1 if the first one was refused
 */
export function sendMessages(fd: number, address: bigint, count: number): number {
  const MSG_DONTWAIT = 0x40;
  return call.sendmmsg(fd, address, count, MSG_DONTWAIT);
}

/** Sends one datagram. */
export function sendMessage(fd: number, message: Buffer, what: string): void {
  checked(Number(call.send(fd, message, message.length, 0)), `send ${what}`);
}

/**
 * Receives one datagram without waiting.
 *
 * @param address - filled with the sender's sockaddr
 * @returns its length in bytes, more than `buffer` holds if it was cut; or the errno name, `EAGAIN` if there is none
 */
export function receiveMessage(fd: number, buffer: Buffer, address: Buffer): number | string {
  const MSG_DONTWAIT_TRUNC = 0x60;
  const size = new Uint32Array([address.length]);
  const got = Number(call.recvfrom(fd, buffer, buffer.length, MSG_DONTWAIT_TRUNC, address, size));
  return got < 0 ? lastErrno() : got;
}

/**
 * Receives up to `count` messages (struct mmsghdr) that start at `address`, without waiting.
 *
 * @returns how many there were; -1 if there are none, or after an error, which is then over
 */
export function receiveMessages(fd: number, address: bigint, count: number): number {
  const MSG_DONTWAIT = 0x40;
  return call.recvmmsg(fd, address, count, MSG_DONTWAIT, null);
}

/** Maps `length` bytes of a descriptor, shared, readable and writable. */
export function mapShared(fd: number, length: number): MappedMemory {
  const MAP_SHARED = 1;
  return mapMemory(fd, length, MAP_SHARED);
}

/** Maps `length` zero bytes of memory that stays where it is, so that the kernel can be given its address. */
export function mapAnonymous(length: number): MappedMemory {
  const MAP_PRIVATE_ANONYMOUS = 0x22;
  return mapMemory(-1, length, MAP_PRIVATE_ANONYMOUS);
}

function mapMemory(fd: number, length: number, flags: number): MappedMemory {
  const PROT_READ_WRITE = 3;
  const pointer = call.mmap(null, length, PROT_READ_WRITE, flags, fd, 0);
  const address = koffi.address(pointer);
  if (address === 0xffff_ffff_ffff_ffffn) checked(-1, "map memory for packets");
  return {
    buffer: koffi.view(pointer, length),
    address,
    unmap: () => void checked(call.munmap(pointer, length), "unmap memory for packets"),
  };
}

/**
 * Waits on the thread pool until a descriptor of `fds` (struct pollfd, 8 bytes each) is ready.
 *
 * @returns how many are ready; 0 after `timeoutMs`; -1 if interrupted
 */
export function pollAsync(fds: Buffer, count: number, timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    call.poll.async(fds, count, timeoutMs, (error: Error | null, ready: number) => {
      if (error) reject(error);
      else resolve(ready);
    });
  });
}

/** As {@link pollAsync}, but blocks the calling thread. */
export function pollNow(fds: Buffer, count: number, timeoutMs: number): number {
  return call.poll(fds, count, timeoutMs);
}

/** Bytes of struct epoll_event, which x86-64 packs: events (4), then what was given with the descriptor (8). */
export const EPOLL_EVENT_BYTES = 12;
const EPOLLIN = 1;

/** Opens a set of descriptors to wait for. */
export function openEpoll(): number {
  const EPOLL_CLOEXEC = 0o2000000;
  return checked(call.epoll_create1(EPOLL_CLOEXEC), "open an epoll set");
}

/** Adds a descriptor, for reading; its number comes back with its events. Works while another thread waits. */
export function addToEpoll(epollFd: number, fd: number): void {
  const EPOLL_CTL_ADD = 1;
  const event = Buffer.alloc(EPOLL_EVENT_BYTES);
  event.writeUInt32LE(EPOLLIN, 0);
  event.writeInt32LE(fd, 4);
  checked(call.epoll_ctl(epollFd, EPOLL_CTL_ADD, fd, event), "wait for a descriptor");
}

/** Takes a descriptor out; one that is closed already is out. */
export function removeFromEpoll(epollFd: number, fd: number): void {
  const EPOLL_CTL_DEL = 2;
  call.epoll_ctl(epollFd, EPOLL_CTL_DEL, fd, Buffer.alloc(EPOLL_EVENT_BYTES));
}

/**
 * Waits on the thread pool until a descriptor of the set is ready.
 *
 * @param events - filled with struct epoll_event; stays in use until the promise settles
 * @returns how many are ready; 0 after `timeoutMs`; -1 if interrupted
 */
export function waitForEpoll(epollFd: number, events: Buffer, timeoutMs: number): Promise<number> {
  const count = Math.floor(events.length / EPOLL_EVENT_BYTES);
  return new Promise((resolve, reject) => {
    call.epoll_wait.async(
      epollFd,
      events,
      count,
      timeoutMs,
      (error: Error | null, ready: number) => {
        if (error) reject(error);
        else resolve(ready);
      },
    );
  });
}

/** As {@link waitForEpoll}, but only looks. */
export function lookAtEpoll(epollFd: number, events: Buffer): number {
  return call.epoll_wait(epollFd, events, Math.floor(events.length / EPOLL_EVENT_BYTES), 0);
}

/** A descriptor that becomes readable when 8 bytes are written to it. */
export function openEventFd(): number {
  const EFD_NONBLOCK_CLOEXEC = 0o2004000;
  return checked(call.eventfd(0, EFD_NONBLOCK_CLOEXEC), "open an event descriptor");
}

/** Moves the calling thread into a network namespace. */
export function enterNetworkNamespace(fd: number): void {
  const CLONE_NEWNET = 0x4000_0000;
  checked(call.setns(fd, CLONE_NEWNET), "enter a network namespace");
}

export function ioctl(fd: number, request: number, argument: Buffer, action: string): void {
  checked(call.ioctl(fd, request, argument), action);
}

/** The index of an interface in the thread's network namespace; 0 if there is none. */
export function interfaceIndex(name: string): number {
  return call.if_nametoindex(name);
}

/** A second descriptor of the same open file or socket; both are closed, each by its owner. */
export function duplicateDescriptor(fd: number): number {
  const F_DUPFD_CLOEXEC = 1030;
  return checked(call.fcntl(fd, F_DUPFD_CLOEXEC, "int", 0), "duplicate a descriptor");
}

/**
 * Takes the lock of an open file, without waiting. It is held until the last descriptor that came from this one, in
 * whichever process, is closed; so also when its holder is killed.
 *
 * @returns false if somebody else has it
 */
export function tryLockFile(fd: number): boolean {
  const LOCK_EXCLUSIVE_NONBLOCKING = 2 | 4;
  if (call.flock(fd, LOCK_EXCLUSIVE_NONBLOCKING) === 0) return true;
  const name = lastErrno();
  if (["EAGAIN", "EWOULDBLOCK", "EINTR"].includes(name)) return false; // two names of one number
  throw new FabricError("ERR_NET_SYSTEM_CALL", `Cannot lock a file: ${name}`);
}

/**
 * A descriptor that stands for one process, never for a later one with the same number; readable once it has ended.
 *
 * @returns undefined if there is no such process
 */
export function openProcessDescriptor(pid: number): number | undefined {
  const SYS_PIDFD_OPEN = 434;
  const fd = Number(call.pidfdOpen(SYS_PIDFD_OPEN, pid, 0));
  if (fd < 0 && lastErrno() === "ESRCH") return undefined;
  return checked(fd, `open process ${pid}`);
}

/** Sends a signal to the process of {@link openProcessDescriptor}; to one that has ended, nothing. */
export function signalProcess(fd: number, signal: number): void {
  const SYS_PIDFD_SEND_SIGNAL = 424;
  const result = Number(call.pidfdSendSignal(SYS_PIDFD_SEND_SIGNAL, fd, signal, null, 0));
  if (result < 0 && lastErrno() === "ESRCH") return;
  checked(result, `send signal ${signal} to a process`);
}
