#!/bin/sh
# sbatch, squeue, scancel and sinfo of a cluster that is this machine, and as faulty as a test says. Below $FAKE_SLURM:
#   asked             every call, a line each
#   fault-PROGRAM     a word for the next calls: `hang`, `fail`, and for sbatch `lost` (it does what was asked, and says that it could not)
#   times-PROGRAM     for so many calls only
#   jobs/ID/          name, comment, script, output, pid, exit (status), state and reason (in place of what is seen), restarts, forgotten
F=$FAKE_SLURM
me=${0##*/}
echo "$me $*" >> "$F/asked"

fault=
if [ -e "$F/fault-$me" ]; then
  fault=$(cat "$F/fault-$me")
  if [ -e "$F/times-$me" ]; then
    left=$(($(cat "$F/times-$me") - 1))
    echo $left > "$F/times-$me"
    [ $left -gt 0 ] || rm -f "$F/fault-$me" "$F/times-$me"
  fi
fi
case $fault in
  hang) exec sleep 600 ;;
  fail) echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1 ;;
  refuse) echo "sbatch: error: Batch job submission failed: Invalid partition name specified" >&2; exit 1 ;;
esac

# start ID TASK: runs the script of a job as slurmd does, its status kept.
start() {
  d="$F/jobs/$1"
  setsid env -i PATH="$PATH" HOME="$HOME" SLURM_JOB_ID="$1" SLURM_ARRAY_TASK_ID="$2" SLURMD_NODENAME=n1 sh -c '
    cd "$(cat "$0/chdir")" || exit 1
    sh "$(cat "$0/script")" >> "$(cat "$0/output")" 2>&1 &
    echo $! > "$0/pid.new" && mv "$0/pid.new" "$0/pid"
    wait $!
    echo $? > "$0/exit.new" && mv "$0/exit.new" "$0/exit"
  ' "$d" < /dev/null > /dev/null 2>&1 &
}

make() {
  d="$F/jobs/$1"
  mkdir "$d"
  echo "$name" > "$d/name"
  echo "$comment" > "$d/comment"
  echo "$script" > "$d/script"
  echo "$output" > "$d/output"
  echo "$chdir" > "$d/chdir"
  if [ -e "$F/hold" ]; then echo PENDING > "$d/state"; else start "$1" "$2"; fi
}

sbatch() {
  for word; do
    case $word in
      --job-name=*) name=${word#*=} ;;
      --comment=*) comment=${word#*=} ;;
      --array=*) array=${word#*=} ;;
      --output=*) output=${word#*=} ;;
      --chdir=*) chdir=${word#*=} ;;
      -*) ;;
      *) script=$word ;;
    esac
  done
  if [ ${#comment} -gt 1024 ]; then
    echo "sbatch: error: Batch job submission failed: Pathname of a file, directory or other parameter too long" >&2
    exit 1
  fi
  id=1
  until mkdir "$F/ids/$id" 2> /dev/null; do id=$((id + 1)); done
  if [ -z "$array" ]; then
    make $id ""
  else
    for task in $(seq 0 "${array#0-}"); do make "${id}_$task" "$task"; done
  fi
  if [ "$fault" = lost ]; then
    echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
    exit 1
  fi
  echo $id
}

of() { cat "$d/$1" 2> /dev/null; }

squeue() {
  while [ $# -gt 0 ]; do
    [ "$1" = --Format ] && fields=$(echo "$2" | tr -d ':|' | tr ',' ' ')
    shift
  done
  for d in "$F"/jobs/*; do
    [ -d "$d" ] && [ ! -e "$d/forgotten" ] || continue
    state=$(of state) reason=$(of reason) code=$(of exit)
    if [ -z "$state" ]; then
      case $code in
        '') state=RUNNING ;;
        0) state=COMPLETED ;;
        *) state=FAILED ;;
      esac
    fi
    raw=0
    [ -z "$code" ] || raw=$((code * 256))
    [ ! -e "$d/raw" ] || raw=$(of raw)
    line=
    for field in $fields; do
      case $field in
        JobArrayID) cell=${d##*/} ;;
        State) cell=$state ;;
        Reason) cell=${reason:-None} ;;
        exit_code) cell=$raw ;;
        RestartCnt) cell=$(of restarts); cell=${cell:-0} ;;
        NodeList) cell=n1 ;;
        Name) cell=$(of name) ;;
        Comment) cell=$(of comment) ;;
      esac
      line="$line$cell|"
    done
    echo "$line"
  done
}

scancel() {
  for word; do
    d="$F/jobs/$word"
    [ -d "$d" ] || continue
    if [ ! -e "$d/exit" ]; then
      echo CANCELLED > "$d/state"
      pid=$(of pid)
      [ -z "$pid" ] || kill -TERM "$pid" 2> /dev/null
    elif [ "$(of state)" = PENDING ]; then
      echo CANCELLED > "$d/state"
    fi
  done
}

sinfo() { echo "main|up|3 nodes|4 CPUs|4000 MB|gpu:2|1:00:00"; }

again() { start "$1" ""; }

"$me" "$@"
