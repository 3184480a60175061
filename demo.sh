#!/bin/sh
# The whole way on the small data that ships: check, train, test, predict. Usage: sh demo.sh [python]
set -eu
python=${1:-python}

run() {
    echo
    echo "\$ python $*"
    "$python" "$@"
}

# name of a config, suffix of its data, columns to show, what they are
demo() {
    answers=runs/demo_$1/answers.$2
    run train.py --conf_path "configs/demo/$1.json" --check
    run train.py --conf_path "configs/demo/$1.json" --force
    run test.py --model "runs/demo_$1"
    run predict.py --model "runs/demo_$1" --input "dataset/demo_$1/test.$2" --output "$answers"
    echo
    echo "\$ head -n 8 $answers    ($4)"
    head -n 8 "$answers" | cut -f "$3"
}

demo tagging conll 1- "word, tag, prediction"
demo matching tsv 2,6- "question, sentence, label, prediction, confidence, confidence@1"

echo
echo "Look at what was trained, and how it went: runs/demo_matching/report.html"
