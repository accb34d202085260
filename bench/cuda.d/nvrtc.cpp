// A stand-in for NVRTC, CUDA's compiler at run time: `play` compiles for this machine what it is given.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

enum Result { FINE = 0, INVALID_INPUT = 3, INVALID_OPTION = 5, COMPILATION = 6, NO_NAMES = 9, NAME = 10 };

struct Program {
  std::map<std::string, std::string> files;
  std::string ptx, log;
  std::map<std::string, std::string> names;
};

// What NVRTC takes beside definitions, and a CPU has no use for.
const char *OPTIONS[] = {"--gpu-architecture", "-arch", "--std", "-std", "--use_fast_math", "-use_fast_math", "--fmad", "-fmad",
                         "--ftz", "--prec-sqrt", "--prec-div", "--maxrregcount", "--restrict", "-default-device", "--device-as-default",
                         "-lineinfo", "--generate-line-info", "--extra-device-vectorization", "-w", "--disable-warnings"};

std::string quoted(const std::string &text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string read(const std::string &path) {
  std::stringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

}  // namespace

extern "C" {

int nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 0, FINE; }
const char *nvrtcGetErrorString(int result) {
  return result == FINE ? "NVRTC_SUCCESS" : result == COMPILATION ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR";
}
int nvrtcCreateProgram(Program **out, const char *source, const char *, int headers, const char *const *texts,
                       const char *const *names) {
  if (!source) return INVALID_INPUT;
  Program *own = new Program;
  for (int i = 0; i < headers; i++) own->files[names[i]] = texts[i];
  own->files["program.cu"] = source;
  return *out = own, FINE;
}
int nvrtcDestroyProgram(Program **program) {
  delete *program;
  return *program = 0, FINE;
}
int nvrtcAddNameExpression(Program *program, const char *name) { return program->names[name] = name, FINE; }
int nvrtcGetLoweredName(Program *program, const char *name, const char **out) {
  auto found = program->names.find(name);
  return found == program->names.end() ? NAME : (*out = found->second.c_str(), FINE);
}

int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
  char folder[] = "/tmp/stand-in-XXXXXX";
  if (!mkdtemp(folder)) return INVALID_INPUT;
  std::string in = folder, command = "python3 " PLAY " program " + in;
  for (int i = 0; i < count; i++) {
    std::string option = options[i];
    if (option == "-D" || option == "--define-macro") option = std::string("-D") + options[++i];
    if (!option.compare(0, 15, "--define-macro=")) option = "-D" + option.substr(15);
    bool takes = !option.compare(0, 2, "-D") || !option.compare(0, 2, "-I");
    for (const char *known : OPTIONS) takes = takes || !option.compare(0, strlen(known), known);
    if (!takes) {
      program->log = "unrecognized option " + option + "\n";
      return INVALID_OPTION;
    }
    command += " " + quoted(option);
  }
  for (auto &file : program->files) {
    for (size_t at = 0; (at = file.first.find('/', at)) != std::string::npos; at++)
      mkdir((in + "/" + file.first.substr(0, at)).c_str(), 0777);
    std::ofstream(in + "/" + file.first) << file.second;
  }
  int status = system((command + " >" + in + "/ptx 2>" + in + "/log").c_str());
  program->ptx = read(in + "/ptx");
  program->log = read(in + "/log");
  if (system(("rm -rf " + in).c_str())) return INVALID_INPUT;
  return status ? COMPILATION : FINE;
}
int nvrtcGetPTXSize(Program *program, size_t *out) { return *out = program->ptx.size() + 1, FINE; }
int nvrtcGetPTX(Program *program, char *out) { return memcpy(out, program->ptx.c_str(), program->ptx.size() + 1), FINE; }
int nvrtcGetProgramLogSize(Program *program, size_t *out) { return *out = program->log.size() + 1, FINE; }
int nvrtcGetProgramLog(Program *program, char *out) { return memcpy(out, program->log.c_str(), program->log.size() + 1), FINE; }
}
