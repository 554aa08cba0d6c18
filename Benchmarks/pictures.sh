#!/bin/sh
# Makes the pictures of the README and the documentation: patterns of a model (a few heads, and every
# head), the needle map dense and sparse, and time against length.
#
#   Benchmarks/pictures.sh OUTPUT TEXT
#
# TEXT is a UTF-8 file. Parameters are environment variables:
#
#   COMMAND         the command                                   .build/release/minference
#   MODEL           a checkpoint's directory                      Models/minference-tiny
#   DEVICE          auto, cpu or cuda                             auto
#   HEADS           layer.head of the heads that are drawn        1.2,4.0,6.1
#   BYTES           bytes of the text that heads are drawn of     120000
#   NEEDLE_LENGTHS  prompt lengths of the needle map              4K,8K,16K,32K,64K,128K
#   DEPTHS, ROUNDS  depths of the map, prompts of a cell          10, 1
#   TIME_LENGTHS    prompt lengths of the time curves             4K,8K,16K,32K,64K,128K
#   REPEAT          runs of which the best counts                 3
set -eu

output=${1:?usage: Benchmarks/pictures.sh OUTPUT TEXT}
text=${2:?usage: Benchmarks/pictures.sh OUTPUT TEXT}
command=${COMMAND:-.build/release/minference}
model=${MODEL:-Models/minference-tiny}
device=${DEVICE:-auto}

mkdir -p "$output"
prompt=$output/prompt.txt
# Whole lines, so that no character is cut in two.
awk -v most="${BYTES:-120000}" '{ n += length($0) + 1; if (n > most) exit; print }' "$text" \
  > "$prompt"

"$command" inspect --model "$model" --device "$device" --prompt-file "$prompt" --raw \
  --heads "${HEADS:-1.2,4.0,6.1}" --cells 96 --output "$output/patterns.svg"
"$command" inspect --model "$model" --device "$device" --prompt-file "$prompt" --raw --all \
  --output "$output/heads.svg"
"$command" evaluate needle --model "$model" --device "$device" --attention dense,minference \
  --lengths "${NEEDLE_LENGTHS:-4K,8K,16K,32K,64K,128K}" --depths "${DEPTHS:-10}" \
  --rounds "${ROUNDS:-1}" --results "$output/needle.jsonl" --plot "$output/needle.svg" \
  > "$output/needle.md"
"$command" bench prefill --model "$model" --device "$device" \
  --lengths "${TIME_LENGTHS:-4K,8K,16K,32K,64K,128K}" --repeat "${REPEAT:-3}" \
  --plot "$output/time.svg" > "$output/time.txt"
rm "$prompt"
