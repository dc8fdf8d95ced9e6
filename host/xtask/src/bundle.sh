#!/usr/bin/env bash
# Tries this bundle on the GPU of this machine, without a network: what Adit sees of the devices, its
# GPU tests, its benchmarks. Takes no arguments. Results go to $OUT, else to ./results; the exit code
# is 0 if every part went well. Part files of the CUDA libraries are joined if they lie here or
# beside this folder.
# Not -e: each part is worth having when another one fails.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${OUT:-./results}" || exit
results=$(cd "${OUT:-./results}" && pwd)
: >"$results/summary.txt"
status=0

# step NAME COMMAND...: runs a command, keeps what it prints, and notes how it ended.
step() {
    local name=$1 begin=$SECONDS code
    shift
    echo "=== $name"
    "$@" </dev/null 2>&1 | tee "$results/$name.txt"
    code=${PIPESTATUS[0]}
    printf '%-14s exit %3d %6d s\n' "$name" "$code" $((SECONDS - begin)) >>"$results/summary.txt"
    if ((code)); then
        status=1
    fi
}

# unpack ARCHIVE FOLDER: not every machine has xz.
unpack() {
    if command -v xz >/dev/null; then
        tar -C "$2" -xf "$1"
    else
        python3 -m tarfile -e "$1" "$2"
    fi
}

# The CUDA libraries take their place only if all of them are whole.
join_cuda() {
    local folder=$here scratch parts
    [[ -d $here/runtimes/onnxruntime-gpu ]] && return
    compgen -G "$here/cuda-part-*" >/dev/null || folder=$here/..
    parts=("$folder"/cuda-part-*)
    [[ -f ${parts[0]} ]] || return 0
    scratch=$(mktemp -d "$here/cuda-XXXXXX") || return
    cat "${parts[@]}" >"$scratch/cuda.tar.xz" || return
    if unpack "$scratch/cuda.tar.xz" "$scratch"; then
        mv "$scratch/runtimes/onnxruntime-gpu" "$here/runtimes/"
        echo "joined ${#parts[@]} parts of the CUDA libraries"
    else
        echo "error: the ${#parts[@]} parts of the CUDA libraries are not whole"
        echo "hint: all of the files cuda-part-* have to be there"
        false
    fi
    local code=$?
    rm -rf "$scratch"
    return "$code"
}

# The libraries of CUDA that Python packages brought, which are on no path of the system.
python_cuda() {
    python3 -c '
import glob, sys
found = [path for folder in sys.path for path in sorted(glob.glob(folder + "/nvidia/*/lib"))]
print(":".join(dict.fromkeys(found)))' 2>/dev/null
}

# A description of the NVIDIA driver for Vulkan, where the loader would find none by itself.
nvidia_icd() {
    local folder file library
    for folder in /usr/share /usr/local/share /etc "${HOME:-/nonexistent}/.local/share"; do
        compgen -G "$folder/vulkan/icd.d/nvidia*.json" >/dev/null && return
    done
    for file in /usr/local/nvidia/{share/,}vulkan/icd.d/nvidia*.json; do
        if [[ -f $file ]]; then
            echo "$file"
            return
        fi
    done
    # The driver may be there without a description of it. The first one needs no display.
    for library in libEGL_nvidia.so.0 libGLX_nvidia.so.0; do
        for folder in /usr/local/nvidia/lib64 /usr/lib/x86_64-linux-gnu /usr/lib64; do
            if [[ -e $folder/$library ]]; then
                printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", %s}}\n' \
                    "$folder/$library" '"api_version": "1.3.0"' >"$here/nvidia_icd.json"
                echo "$here/nvidia_icd.json"
                return
            fi
        done
    done
}

# The same of NVIDIA's EGL, which its Vulkan driver opens where there is no display.
nvidia_egl() {
    local folder file
    for folder in /usr/share /etc; do
        compgen -G "$folder/glvnd/egl_vendor.d/*nvidia*.json" >/dev/null && return
    done
    for file in /usr/local/nvidia/{share/,}glvnd/egl_vendor.d/*nvidia*.json; do
        if [[ -f $file ]]; then
            echo "$file"
            return
        fi
    done
}

environment() {
    uname -srm
    command -v nvidia-smi >/dev/null && nvidia-smi -L
    echo "LD_LIBRARY_PATH=$LD_LIBRARY_PATH"
    echo "VK_DRIVER_FILES=${VK_DRIVER_FILES:-}"
    echo "__EGL_VENDOR_LIBRARY_FILENAMES=${__EGL_VENDOR_LIBRARY_FILENAMES:-}"
    find "$here" -type f ! -path '*/state/*' -printf '%10s  %P\n' | sort -k 2
    # Libraries that are missing are named here, before a message that is harder to understand.
    local library
    for library in "$here"/libvulkan.so.1 "$here"/runtimes/*/onnxruntime/capi/*.so*; do
        ldd "$library" | sed -n "s|^\s*\(.* => not found\)|${library##*/}: \1|p"
    done
    return 0
}

# gpu_tests BINARY: its tests of GPUs, one after the other, since they share the device.
gpu_tests() {
    local log=$here/state/tests.txt code
    "$here/bin/$1" gpu:: --test-threads 1 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    # Tests that were renamed would otherwise pass by not running.
    if ((code == 0)) && ! grep -qE '^test result: ok\. [1-9]' "$log"; then
        echo "error: no test ran"
        code=1
    fi
    return "$code"
}

has_gpu_tests() {
    "$here/bin/$1" gpu:: --list 2>/dev/null | grep -q ': test$'
}

paths=$here
for folder in $(python_cuda | tr ':' '\n') /usr/local/nvidia/lib64; do
    if [[ -d $folder ]]; then
        paths+=:$folder
    fi
done
export LD_LIBRARY_PATH=$paths${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
if [[ -z ${VK_DRIVER_FILES:-} ]]; then
    icd=$(nvidia_icd)
    if [[ -n $icd ]]; then
        export VK_DRIVER_FILES=$icd
    fi
fi
if [[ -z ${__EGL_VENDOR_LIBRARY_FILENAMES:-} ]]; then
    egl=$(nvidia_egl)
    if [[ -n $egl ]]; then
        export __EGL_VENDOR_LIBRARY_FILENAMES=$egl
    fi
fi
# Where the tests and `adit` find models, guests and libraries.
export ADIT_BUNDLE=$here
# Nothing is kept on the machine outside of this folder.
export XDG_DATA_HOME=$here/state
mkdir -p "$XDG_DATA_HOME"
cd "$here" || exit

step cuda join_cuda
step environment environment
models=()
for model in silero/model magika/model ppocr/det ppocr/rec; do
    models+=(--model "${model/\//-}=$here/models/$model.onnx")
done
for package in onnxruntime-webgpu onnxruntime-gpu; do
    if [[ -d $here/runtimes/$package ]]; then
        export ADIT_ONNXRUNTIME=$here/runtimes/$package
        # It also fails where a device is wrong for one of the models, which is worth knowing.
        step "doctor-$package" bin/adit doctor "${models[@]}"
    fi
done
step tests-runtime gpu_tests tests-runtime
if has_gpu_tests tests-cli; then
    step tests-cli gpu_tests tests-cli
fi
for package in onnxruntime-webgpu onnxruntime-gpu; do
    if [[ -d $here/runtimes/$package ]]; then
        export ADIT_ONNXRUNTIME=$here/runtimes/$package
        step "bench-$package" bin/adit bench
        # It comes in an archive of its own.
        if [[ -x bin/bench-inference ]]; then
            device=cuda
            [[ $package == onnxruntime-webgpu ]] && device=webgpu
            export ADIT_BENCH_DEVICE=$device
            step "inference-$device" bin/bench-inference --bench
        fi
    fi
done
cat "$results/summary.txt"
exit "$status"
