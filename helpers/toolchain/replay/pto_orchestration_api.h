// What an orchestration that PyPTO's compiler has generated includes: here it writes down what it would launch.
//
// Compiled together with the generated file by helpers/toolchain/worker.py. The names are those of PyPTO's runtime
// (simpler, pto_orchestration_api.h and tensor.h); behind them there is no device, only a list. What the list is
// given out as is the form of the runtime's own deps.json, without the edges that the runtime would infer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

enum class DataType : uint8_t {
    FLOAT32, FLOAT16, INT32, INT16, INT8, UINT8, BFLOAT16, INT64, UINT64, UINT16, UINT32, BOOL, FP8E4M3FN, FP8E8M0
};
inline const char *const DATA_TYPE_NAMES[] = {
    "FLOAT32", "FLOAT16", "INT32", "INT16", "INT8", "UINT8", "BFLOAT16", "INT64", "UINT64", "UINT16", "UINT32", "BOOL",
    "FP8E4M3FN", "FP8E8M0"
};

struct RecordedBuffer {
    uint64_t numel;
    DataType dtype;
    const void *data;  // of an argument that has memory
    bool written;      // by a task: its elements are not known then
};

struct Recording {
    std::vector<RecordedBuffer> buffers;
    std::string tasks, edges;
    uint64_t launched = 0;
    int clusters = 0, vector_cores = 0;
    int manual = 0;  // manual scopes around
};
inline Recording recording;

class ChipTensor {
public:
    uint32_t shapes[8] = {}, strides[8] = {}, ndims = 0;
    uint64_t start_offset = 0;
    size_t buffer = 0;

    static ChipTensor dense(size_t buffer, const uint32_t *extents, uint32_t n) {
        ChipTensor t;
        t.buffer = buffer;
        t.ndims = n;
        uint32_t step = 1;
        for (uint32_t i = n; i-- > 0;) {
            t.shapes[i] = extents[i];
            t.strides[i] = step;
            step *= extents[i];
        }
        return t;
    }
    ChipTensor reshape(const uint32_t extents[], uint32_t n, bool = false) const {
        ChipTensor t = dense(buffer, extents, n);
        t.start_offset = start_offset;
        return t;
    }
    ChipTensor view(const uint32_t extents[], const uint32_t offsets[], bool = false) const {
        ChipTensor t = *this;
        for (uint32_t i = 0; i < ndims; i++) {
            t.shapes[i] = extents[i];
            t.start_offset += static_cast<uint64_t>(offsets[i]) * strides[i];
        }
        return t;
    }
    ChipTensor transpose(uint32_t x, uint32_t y, bool = false) const {
        ChipTensor t = *this;
        std::swap(t.shapes[x], t.shapes[y]);
        std::swap(t.strides[x], t.strides[y]);
        return t;
    }
    uint64_t at(const uint32_t indices[], uint32_t n) const {
        uint64_t place = start_offset;
        for (uint32_t i = 0; i < n; i++) {
            if (indices[i] >= shapes[i]) throw std::runtime_error("an element out of bounds is read");
            place += static_cast<uint64_t>(indices[i]) * strides[i];
        }
        return place;
    }
};

class TensorCreateInfo {
public:
    ChipTensor outline;
    DataType dtype;
    TensorCreateInfo(const uint32_t extents[], uint32_t n, DataType type, bool = false) :
        outline(ChipTensor::dense(0, extents, n)), dtype(type) {}
    template <typename T>
    void set_initial_value(T) {}
};

struct PTO2TaskId {
    uint64_t raw = ~uint64_t(0);
    bool is_valid() const { return raw != ~uint64_t(0); }
    static PTO2TaskId invalid() { return {}; }
};

class TaskOutputTensors {
public:
    std::deque<ChipTensor> made;
    PTO2TaskId id;
    const ChipTensor &get_ref(uint32_t i) const { return made.at(i); }
    PTO2TaskId task_id() const { return id; }
};

struct LaunchSpec {
    int blocks = 1;
    void set_block_num(int64_t n) { blocks = static_cast<int>(n); }
    void set_core_num(int64_t n) { blocks = static_cast<int>(n); }
    void set_require_sync_start(bool) {}
};

class CoreTaskArgs {
public:
    struct Argument {
        ChipTensor tensor;
        const char *type;
    };
    std::vector<Argument> arguments;
    std::vector<PTO2TaskId> after;
    LaunchSpec launch_spec;

    template <typename... T> void add_input(const T &...t) { add("INPUT", t...); }
    template <typename... T> void add_output(const T &...t) { add("OUTPUT_EXISTING", t...); }
    template <typename... T> void add_inout(const T &...t) { add("INOUT", t...); }
    template <typename... T> void add_no_dep(const T &...t) { add("NO_DEP", t...); }
    template <typename... T> void add_scalar(const T &...) {}
    void set_dependencies(const PTO2TaskId ids[], uint32_t n) { after.assign(ids, ids + n); }
    void set_allow_early_resolve(bool) {}

private:
    template <typename... T> void add(const char *type, const T &...t) {
        for (const ChipTensor *one : std::initializer_list<const ChipTensor *>{&t...}) arguments.push_back({*one, type});
    }
};

struct MixedKernels {
    int32_t aic = -1, aiv0 = -1, aiv1 = -1;
};
constexpr int32_t INVALID_KERNEL_ID = -1;

inline std::string quoted(uint64_t n) { return "\"" + std::to_string(n) + "\""; }

inline std::string listed(const uint32_t *values, uint32_t n) {
    std::string out = "[";
    for (uint32_t i = 0; i < n; i++) out += (i ? "," : "") + std::to_string(values[i]);
    return out + "]";
}

inline TaskOutputTensors rt_submit_task(const MixedKernels &kernels, const CoreTaskArgs &args) {
    Recording &r = recording;
    TaskOutputTensors out;
    out.id.raw = r.launched++;
    r.tasks += r.tasks.empty() ? "" : ",\n";
    r.tasks += "{\"task_id\":" + quoted(out.id.raw) + ",\"scope\":\"" + (r.manual ? "manual" : "auto") +
               "\",\"kernel_ids\":[" + std::to_string(kernels.aic) + "," + std::to_string(kernels.aiv0) + "," +
               std::to_string(kernels.aiv1) + "],\"block_num\":" + std::to_string(args.launch_spec.blocks) +
               ",\"args\":[";
    int number = 0;
    for (const auto &[tensor, type] : args.arguments) {
        r.tasks += (number ? "," : "") + std::string("{\"idx\":") + std::to_string(number) + ",\"type\":\"" + type +
                   "\",\"tensor_id\":" + quoted(tensor.buffer) + ",\"shape\":" + listed(tensor.shapes, tensor.ndims) +
                   ",\"start_offset\":" + quoted(tensor.start_offset) +
                   ",\"strides\":" + listed(tensor.strides, tensor.ndims) + "}";
        number++;
        if (std::strcmp(type, "INPUT") != 0) r.buffers[tensor.buffer].written = true;
    }
    r.tasks += "]}";
    for (const PTO2TaskId &before : args.after) {
        if (!before.is_valid()) continue;
        r.edges += r.edges.empty() ? "" : ",\n";
        r.edges += "{\"pred\":" + quoted(before.raw) + ",\"succ\":" + quoted(out.id.raw) + ",\"source\":\"explicit\"}";
    }
    return out;
}
inline TaskOutputTensors rt_submit_aic_task(int32_t kernel, const CoreTaskArgs &args) {
    return rt_submit_task({kernel, -1, -1}, args);
}
inline TaskOutputTensors rt_submit_aiv_task(int32_t kernel, const CoreTaskArgs &args) {
    return rt_submit_task({-1, kernel, -1}, args);
}
inline TaskOutputTensors rt_submit_dummy_task(const CoreTaskArgs &args) { return rt_submit_task({-1, -1, -1}, args); }

template <typename... T>
TaskOutputTensors alloc_tensors(const T &...infos) {
    TaskOutputTensors out;
    for (const TensorCreateInfo *info : std::initializer_list<const TensorCreateInfo *>{&infos...}) {
        ChipTensor t = info->outline;
        t.buffer = recording.buffers.size();
        uint64_t numel = 1;
        for (uint32_t i = 0; i < t.ndims; i++) numel *= t.shapes[i];
        recording.buffers.push_back({numel, info->dtype, nullptr, false});
        out.made.push_back(t);
    }
    return out;
}

template <typename T>
T get_tensor_data(const ChipTensor &tensor, uint32_t n, const uint32_t indices[]) {
    const RecordedBuffer &b = recording.buffers[tensor.buffer];
    if (b.data == nullptr || b.written) throw std::runtime_error("it depends on elements that only tasks compute");
    T value;
    std::memcpy(&value, static_cast<const T *>(b.data) + tensor.at(indices, n), sizeof(T));
    return value;
}

inline int32_t rt_available_cluster_count() { return recording.clusters; }
inline int32_t rt_available_aiv_count() { return recording.vector_cores; }

template <typename T>
T from_u64(uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

enum class PTO2ScopeMode { AUTO, MANUAL };
class ScopeGuard {
public:
    explicit ScopeGuard(PTO2ScopeMode mode = PTO2ScopeMode::AUTO) : manual(mode == PTO2ScopeMode::MANUAL) {
        recording.manual += manual;
    }
    ~ScopeGuard() { recording.manual -= manual; }

private:
    bool manual;
};
#define PTO2_SCOPE(...) if (ScopeGuard scope_guard{__VA_ARGS__}; true)

struct PTO2OrchestrationConfig {
    int expected_arg_count = 0;
};

class ChipTaskArgs {
public:
    struct Slot {
        ChipTensor value;
        const ChipTensor &ref() const { return value; }
    };
    std::vector<Slot> tensors;
    std::vector<uint64_t> scalars;
    const Slot &tensor(size_t i) const { return tensors.at(i); }
    uint64_t scalar(size_t i) const { return scalars.at(i); }
};

extern "C" {

void aicpu_orchestration_entry(const ChipTaskArgs &orch_args);

struct GivenTensor {
    const void *data;
    uint32_t shapes[8], ndims;
    uint8_t dtype;
};

// The launches of one run on these arguments, as JSON; or what kept it from its end, after "error: ".
__attribute__((visibility("default"))) const char *
replay(const GivenTensor *tensors, uint32_t n, const uint64_t *scalars, uint32_t m, int clusters, int vector_cores) {
    static std::string out;
    recording = {};
    recording.clusters = clusters;
    recording.vector_cores = vector_cores;
    ChipTaskArgs args;
    for (uint32_t i = 0; i < n; i++) {
        args.tensors.push_back({ChipTensor::dense(i, tensors[i].shapes, tensors[i].ndims)});
        uint64_t numel = 1;
        for (uint32_t d = 0; d < tensors[i].ndims; d++) numel *= tensors[i].shapes[d];
        recording.buffers.push_back({numel, static_cast<DataType>(tensors[i].dtype), tensors[i].data, false});
    }
    args.scalars.assign(scalars, scalars + m);
    try {
        aicpu_orchestration_entry(args);
    } catch (const std::exception &e) {
        return (out = std::string("error: ") + e.what()).c_str();
    }
    out = "{\"tasks\":[" + recording.tasks + "],\n\"tensors\":[";
    for (size_t i = 0; i < recording.buffers.size(); i++) {
        const RecordedBuffer &b = recording.buffers[i];
        out += (i ? ",\n" : "") + std::string("{\"tensor_id\":") + quoted(i) + ",\"buffer_addr\":" + quoted(i) +
               ",\"version\":0,\"dtype\":\"" + DATA_TYPE_NAMES[static_cast<int>(b.dtype)] +
               "\",\"buffer_numel\":" + quoted(b.numel) + "}";
    }
    out += "],\n\"edges\":[" + recording.edges + "]}";
    return out.c_str();
}
}
