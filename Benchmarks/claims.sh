#!/bin/sh
# Puts the two claims of MInference to the test on a model, and writes the tables: that sparse
# attention answers as dense attention does, and that what is computed has to follow the prompt.
#
#   Benchmarks/claims.sh OUTPUT
#
# Every result is a line of a file in OUTPUT, written at once: a run that was interrupted, or that is
# given more prompts or lengths, goes on where it was. OUTPUT/claims.md has all tables, each with the
# command that makes it. Parameters are environment variables:
#
#   COMMAND    the command                          .build/release/minference
#   MODEL      a checkpoint's directory             Models/minference-tiny
#   DEVICE     auto, cpu or cuda                    auto
#   LENGTHS    prompt lengths                       4K,8K,16K,32K
#   PROMPTS    prompts of each kind and length      25
#   DEPTHS     depths of the needle                 10
#   KINDS      kinds of RULER                       synthetic
#   TASKS      generated tasks                      second_question,confusable_facts
#   CODE       a folder with source files; with it and TEXTS the six scenarios are run     (none)
#   TEXTS      text files, separated by blanks; the first two are compared by their indices. Use
#              texts that neither trained the model nor chose its patterns   (the demo's chronicle)
#   WINDOWS    windows of each length and text for perplexity                2
#   ABLATION_LENGTHS, ABLATION_KINDS, BUDGETS, PUBLISHED     see below
set -eu

output=${1:?usage: Benchmarks/claims.sh OUTPUT}
command=${COMMAND:-.build/release/minference}
model=${MODEL:-Models/minference-tiny}
device=${DEVICE:-auto}
lengths=${LENGTHS:-4K,8K,16K,32K}
prompts=${PROMPTS:-25}
depths=${DEPTHS:-10}
kinds=${KINDS:-synthetic}
tasks=${TASKS:-second_question,confusable_facts}
code=${CODE:-}
texts=${TEXTS:-}
windows=${WINDOWS:-2}
ablation_lengths=${ABLATION_LENGTHS:-8K,32K}
ablation_kinds=${ABLATION_KINDS:-niah_single_2,niah_multikey_1,niah_multikey_2,niah_multiquery}
# Budgets of the kinds that give all heads one pattern: small ones, near the density of the searched
# patterns; and the published ones, which take in most of a short prompt.
budgets=${BUDGETS:---sink 128 --local 1024 --vertical 256 --slash 768 --top-k-blocks 24}
published=${PUBLISHED:-yes}
all=dense,minference,vertical-slash,static,vertical,slash,block-sparse,a-shape,tri-shape,dilated,strided

mkdir -p "$output"
tables=$output/claims.md
parts=$output/parts
rm -rf "$parts"
mkdir "$parts"
rounds=$(((prompts + depths - 1) / depths))

# part NAME TITLE ARGUMENTS...: runs the command; its table becomes the next part of the page.
number=10
part() {
  number=$((number + 1))
  name=$1
  title=$2
  shift 2
  echo "$title" >&2
  {
    printf '## %s\n\n    minference %s\n\n' "$title" "$*"
    "$command" "$@" > "$output/$name.out"
    cat "$output/$name.out"
    echo
  } > "$parts/$number"
}

# evaluated NAME TITLE SUITE ARGUMENTS...: the same for a suite with a file of results.
evaluated() {
  name=$1
  title=$2
  suite=$3
  shift 3
  part "$name" "$title" evaluate "$suite" --model "$model" --device "$device" \
    --results "$output/$name.jsonl" "$@"
}

# Claim 1: sparse answers as dense does.
evaluated needle "Needle in a haystack" needle --attention dense,minference \
  --lengths "$lengths" --depths "$depths" --rounds "$rounds" --plot "$output/needle.svg"
evaluated ruler "RULER" ruler --attention dense,minference \
  --kinds "$kinds" --lengths "$lengths" --prompts "$prompts"
evaluated tasks "Generated tasks" tasks --attention dense,minference \
  --kinds "$tasks" --lengths "$lengths" --prompts "$prompts"
if [ -n "$texts" ] && [ -n "$code" ]; then
  # shellcheck disable=SC2086
  evaluated scenarios "Six scenarios" scenarios --attention dense,minference \
    --books $texts --code "$code" --lengths "$lengths" --prompts "$prompts"
fi
if [ -n "$texts" ]; then
  book=0
  for text in $texts; do
    book=$((book + 1))
    evaluated "perplexity-$book" "Perplexity of $(basename "$text")" perplexity \
      --attention dense,minference --lengths "$lengths" --windows "$windows" --text "$text"
    evaluated "recall-$book" "Recall on $(basename "$text")" recall \
      --attention minference --lengths "$lengths" --windows 1 --text "$text"
  done
else
  evaluated perplexity "Perplexity of the demo's chronicle" perplexity \
    --attention dense,minference --lengths "$lengths" --windows "$windows"
  evaluated recall "Recall on the demo's chronicle" recall \
    --attention minference --lengths "$lengths" --windows 1
fi

# Claim 2: what is computed has to follow the prompt. The kind "static" computes, in every prompt, the
# columns and offsets of a calibration prompt; "vertical-slash" has the same budgets and estimates.
# shellcheck disable=SC2086
evaluated ablation-needle "Methods side by side: needle, small budgets" needle --attention "$all" \
  --lengths "$ablation_lengths" --depths "$depths" --rounds "$rounds" $budgets
# Retrieval of one fact may survive any prefill (see the documentation); perplexity tells more apart.
# shellcheck disable=SC2086
evaluated ablation-ruler "Methods side by side: RULER, small budgets" ruler --attention "$all" \
  --kinds "$ablation_kinds" --lengths "$ablation_lengths" --prompts "$prompts" $budgets
book=${texts%% *}
# shellcheck disable=SC2086
evaluated ablation-perplexity "Methods side by side: perplexity, small budgets" perplexity \
  --attention "$all" --lengths "$ablation_lengths" --windows "$windows" \
  ${book:+--text "$book"} $budgets
if [ "$published" = yes ]; then
  evaluated ablation-published "Methods side by side: RULER, published budgets" ruler \
    --attention "$all" --kinds "$ablation_kinds" --lengths "${ablation_lengths##*,}" \
    --prompts "$prompts"
fi
first=${texts%% *}
rest=${texts#"$first"}
second=$(echo $rest | cut -d ' ' -f 1)
if [ -n "$first" ] && [ -n "$second" ]; then
  set -- "$first" "$second"
else
  set --
fi
part overlap "What the indices of two prompts have in common" evaluate overlap --model "$model" \
  --device "$device" --length "${ablation_lengths##*,}" "$@"

{
  echo "# Measured"
  echo
  echo "$("$command" --version), $model, $(uname -sm), device $device, $(date -u +%Y-%m-%d)."
  echo
  cat "$parts"/*
} > "$tables"
echo "$tables" >&2
