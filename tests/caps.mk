# Programs that tests drive: tests/drive/drive_x.c -> build/<variant>/drive_x
DRIVERS := $(patsubst tests/drive/%.c,$(BUILD)/%,$(wildcard tests/drive/drive_*.c))
build-all: $(DRIVERS)

$(BUILD)/drive_%: $(BUILD)/tests/drive/drive_%.o $(BUILD)/libjointcap.a
	@$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
