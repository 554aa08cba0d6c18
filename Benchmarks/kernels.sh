#!/bin/sh
# Times the attention kernels alone, all cases of the tables in the documentation ("Kernels on NVIDIA
# GPUs"), on a GPU. About two minutes on an H100.
#
#   Benchmarks/kernels.sh [FLAG...] > kernels.txt
#
# Flags go to every run: --repeat 5, --json. Parameters are environment variables:
#
#   COMMAND       the command                                      .build/release/minference
#   DEVICE        cuda, or cpu with small lengths to try it out    cuda
#   SHORT, MIDDLE, LONG   prompt lengths                           32K, 128K, 512K
#   HEADS         query heads, key-value heads                     32, 8
set -eu

command=${COMMAND:-.build/release/minference}
device=${DEVICE:-cuda}
short=${SHORT:-32K}
middle=${MIDDLE:-128K}
long=${LONG:-512K}
heads=${HEADS:-32}
kv_heads=${KV_HEADS:-8}
densities=20,10,5,2.5
budgets='1000,6096;500,700;30,800;3500,100'
if [ "$device" = cpu ]; then fp8=; else fp8=yes; fi

# kernels TITLE ARGUMENTS...: one run, under its title and the flags that repeat it.
kernels() {
  title=$1
  shift
  printf '# %s\n# minference bench attention --device %s --heads %s --kv-heads %s %s\n' \
    "$title" "$device" "$heads" "$kv_heads" "$*" | sed "s/[^ ]*;[^ ]*/'&'/"
  "$command" bench attention --device "$device" --heads "$heads" --kv-heads "$kv_heads" "$@"
}

kernels "Dense" --head-dim 128 --lengths "$short,$middle,$long" --cases product,dense "$@"
kernels "Dense, heads of 64" --head-dim 64 --lengths "$short,$middle" --cases product,dense "$@"
kernels "Dense, heads of 96" --head-dim 96 --lengths "$short" --cases product,dense "$@"
kernels "Tiles" --head-dim 128 --lengths "$middle,$long" --cases tiles --densities "$densities" \
  --index group,head "$@"
kernels "Vertical-slash" --head-dim 128 --lengths "$middle,$long" --cases slashes \
  --budgets "$budgets" --settings clustered,scattered "$@"
kernels "Index" --head-dim 128 --lengths "$short,$middle,$long" --cases index \
  --budgets "$budgets" "$@"
kernels "Decoding" --head-dim 128 --lengths "$short,$middle,$long" --cases decode "$@"
if [ -n "$fp8" ]; then
  kernels "Operands of fp8" --attention-precision fp8 --head-dim 128 --lengths "$middle" \
    --cases dense,tiles,slashes --densities "$densities" --index group --budgets "$budgets" "$@"
  kernels "Operands of fp8, long" --attention-precision fp8 --head-dim 128 --lengths "$long" \
    --cases tiles,slashes --densities 10 --index group --budgets "$budgets" "$@"
  MINFERENCE_CUDA_KERNELS=portable
  export MINFERENCE_CUDA_KERNELS
  kernels "Portable kernels" --head-dim 128 --lengths "$middle" --cases dense,tiles,slashes \
    --densities "$densities" --index group --budgets "$budgets" "$@"
fi
