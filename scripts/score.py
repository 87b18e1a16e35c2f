"""Scores what `cargo bench -p media --bench speech` has made in FOLDER with PESQ (ITU-T P.862; 1.0 to 4.55 narrow band,
4.64 wide band) and compares it with the goals. Exit 1 if one is missed. --quick: a part of it."""

import json
import os
import statistics
import sys
import wave
from concurrent.futures import ProcessPoolExecutor

import numpy
from pesq import pesq

# Below the ceiling by so much at most; above a call without help by so much at least.
CEILING = 0.15
HELP = 0.3


def samples(path):
    with wave.open(path) as file:
        return numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def score(job):
    said, heard, rate, mode = job
    return pesq(16000 if mode == "wb" else rate, samples(said), samples(heard), mode)


def modes(line):
    return ["nb", "wb"] if line["rate"] == 16000 else ["nb"]


def is_quick(line):
    if line["kind"] == "call":
        return line["rate"] == 8000 and line["voice"] != "speech_8k_b" and "opus" in line["call"]
    return line["percent"] == 10


def scored(folder, lines):
    """Every line with its scores. The same recording is judged once."""
    jobs, wanted = {}, []
    for line in lines:
        for mode in modes(line):
            heard = os.path.join(folder, line["heard"])
            with open(heard, "rb") as file:
                key = (line["said"], hash(file.read()), mode)
            jobs.setdefault(key, (os.path.join(folder, line["said"]), heard, line["rate"], mode))
            wanted.append((line, mode, key))
    with ProcessPoolExecutor() as workers:
        results = dict(zip(jobs, workers.map(score, jobs.values())))
    for line, mode, key in wanted:
        line[mode] = results[key]


def calls(lines):
    print("\nPESQ of converted calls without loss. 'codecs': the same two without an engine; 'worse alone': the worse of")
    print(f"the two by itself. Goal: at most {CEILING} below the codecs, PCMU with Opus also below the worse alone.\n")
    print("| call | voice | band | call | codecs | worse alone | kb/s towards the listener | |")
    print("|---|---|---|---|---|---|---|---|")
    failed = 0
    groups = {}
    for line in lines:
        groups.setdefault((line["call"], line["voice"], line["rate"]), {})[line["way"]] = line
    for (call, voice, rate), ways in groups.items():
        for mode in modes(ways["call"]):
            got, codecs = ways["call"][mode], ways["codecs"][mode]
            alone = min(ways[name][mode] for name in call.split("-"))
            good = got >= codecs - CEILING
            if sorted(call.split("-")) == ["opus", "pcmu"]:
                good = good and got >= alone - CEILING
            failed += not good
            bits = ways["call"]["bits"] / 1000
            verdict = "reached" if good else "**MISSED**"
            name = call.replace("-", " to ").upper().replace("TO", "to")
            print(f"| {name} | {voice} at {rate // 1000} kHz | {mode} | {got:.2f} | {codecs:.2f} | {alone:.2f} | {bits:.1f} | {verdict} |")
    return failed


def losses(lines):
    print("\nPCMU to Opus, a lossy network, Opus to PCMU; PESQ narrow band. 'none': neither redundancy nor concealment,")
    print(f"silence where something is lost; 'plc': concealment; 'fec': both. Goal: fec - none >= {HELP}, the median of the")
    print("pairs (same voice, same seed).\n")
    print("| loss | pairs | none | plc | fec | fec - none: min / quartiles / max | fec - plc: the same | |")
    print("|---|---|---|---|---|---|---|---|")
    failed = 0
    groups = {}
    for line in lines:
        pair = groups.setdefault((line["loss"], line["percent"]), {}).setdefault((line["voice"], line["seed"]), {})
        pair[line["way"]] = line
    for (loss, percent), pairs in groups.items():
        def middle(way):
            return statistics.median(pair[way]["nb"] for pair in pairs.values())

        def gain(over):
            gains = sorted(pair["fec"]["nb"] - pair[over]["nb"] for pair in pairs.values())
            low, mid, high = statistics.quantiles(gains, n=4, method="inclusive")
            return mid, f"{gains[0]:+.2f} / {low:+.2f} {mid:+.2f} {high:+.2f} / {gains[-1]:+.2f}"

        helped, spread = gain("none")
        good = helped >= HELP
        failed += not good
        print(
            f"| {percent} % {loss} | {len(pairs)} | {middle('none'):.2f} | {middle('plc'):.2f} | {middle('fec'):.2f} "
            f"| {spread} | {gain('plc')[1]} | {'reached' if good else '**MISSED**'} |"
        )

    def total(field, way):
        return sum(line[field] for line in lines if line["way"] == way)

    packets, lost = total("packets", "fec"), total("lost", "fec")
    redundant, recovered = total("redundant", "fec"), total("recovered", "fec")
    bits = {way: statistics.median(line["bits"] for line in lines if line["way"] == way) / 1000 for way in ("plc", "fec")}
    print(
        f"\nOn the wire with fec: {packets} packets, {redundant} of them ({100 * redundant / packets:.0f} %) repeat the one before, "
        f"{lost} were lost, {recovered} won back ({100 * recovered / max(lost, 1):.0f} %).\n"
        f"Opus takes {bits['plc']:.1f} kb/s without and {bits['fec']:.1f} kb/s with redundancy, which begins with the first report of loss."
    )
    if redundant == 0 or recovered == 0:
        print("**MISSED**: no redundancy was seen, or none of it used")
        failed += 1
    return failed


def main():
    folder, quick = sys.argv[1], "--quick" in sys.argv
    with open(os.path.join(folder, "list.jsonl")) as file:
        lines = [json.loads(line) for line in file]
    if not lines:
        print("ABSENT: the voices of ../shared/testdata/audio: nothing was scored", file=sys.stderr)
        return 0 if quick else 1
    if quick:
        lines = [line for line in lines if is_quick(line)]
    scored(folder, lines)
    failed = calls([line for line in lines if line["kind"] == "call"])
    failed += losses([line for line in lines if line["kind"] == "loss"])
    print(f"\n{failed} goals missed" if failed else "\nall goals reached")
    return 1 if failed else 0


sys.exit(main())
