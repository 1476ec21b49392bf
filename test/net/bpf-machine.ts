/**
 * A classic BPF machine, so that filters can be tested without a kernel: the instructions of bpf_check_classic() in
 * net/core/filter.c that our filters use, and the packet type as ancillary data.
 */
import type { BpfInstruction } from "../../src/net/bpf.ts";

const AD_PACKET_TYPE = 0xffff_f004;

/** A frame, and the kernel's word for where it comes from (4 is outgoing). */
export interface BpfInput {
  readonly bytes: Uint8Array;
  readonly packetType?: number;
}

/** What a run did: octets to keep (0 drops the frame), and which instructions were executed. */
export interface BpfRun {
  readonly kept: number;
  readonly path: readonly number[];
}

/** Runs a program. A load outside the frame drops it, as in the kernel. */
export function runBpf(program: readonly BpfInstruction[], input: BpfInput): BpfRun {
  const { bytes, packetType = 0 } = input;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const path: number[] = [];
  let a = 0;
  let x = 0;
  for (let pc = 0; pc < program.length; pc += 1) {
    const [code, jt, jf, k] = program[pc]!;
    path.push(pc);
    const load = (offset: number, size: 1 | 2): number | undefined => {
      if (offset === AD_PACKET_TYPE) return packetType;
      if (offset + size > bytes.length) return undefined;
      return size === 1 ? view.getUint8(offset) : view.getUint16(offset);
    };
    let loaded: number | undefined = a;
    switch (code) {
      case 0x28: // ldh [k]
        loaded = load(k, 2);
        break;
      case 0x30: // ldb [k]
        loaded = load(k, 1);
        break;
      case 0x48: // ldh [x + k]
        loaded = load(x + k, 2);
        break;
      case 0x50: // ldb [x + k]
        loaded = load(x + k, 1);
        break;
      case 0xb1: {
        // ldx 4 * ([k] & 0xf)
        const octet = load(k, 1);
        if (octet === undefined) return { kept: 0, path };
        x = (octet & 15) * 4;
        break;
      }
      case 0x15: // jeq
        pc += a === k ? jt : jf;
        break;
      case 0x45: // jset
        pc += (a & k) !== 0 ? jt : jf;
        break;
      case 0x06: // ret
        return { kept: k, path };
      default:
        throw new Error(`instruction ${pc} has an unknown code 0x${code.toString(16)}`);
    }
    if (loaded === undefined) return { kept: 0, path };
    a = loaded;
  }
  throw new Error("the program ends without a return");
}
