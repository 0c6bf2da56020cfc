/* VAST InLine documents, versions 2.0, 3.0 and 4.0 to 4.2. One template for each, for video and for audio;
 * a bid fills in what differs.
 *
 * The schemas fix the order of elements, and 4.x changed it: types derived there put what they add
 * behind what they inherit (VAST 4.2 XSD, AdDefinitionBase_type and Linear_Base_type).
 *
 *   InLine   2, 3   AdSystem AdTitle Error Impression Creatives
 *            4.x    AdSystem Error Impression AdServingId AdTitle Advertiser Creatives
 *   Linear   2, 3   Duration TrackingEvents VideoClicks MediaFiles
 *            4.x    TrackingEvents Duration MediaFiles VideoClicks */
#include "bidder/markup_internal.h"

#include "bidder/base/bug.h"
#include "bidder/select_internal.h"

#define VAST_3_0    3 /* as AdCOM subtype */
#define MEDIA_FILES "<MediaFiles>" MARK_MEDIA "</MediaFiles>"
#define DURATION    "<Duration>" MARK_DURATION "</Duration>"

static const struct vast_version {
    int32_t protocol;
    struct str text;
    bool four;       /* the order of 4.x, UniversalAdId */
    bool serving_id; /* AdServingId and adType came with 4.1 */
} versions[VAST_VERSION_COUNT] = {
    {13, {"4.2", 3}, true, true},  {11, {"4.1", 3}, true, true},
    {7, {"4.0", 3}, true, false},  {VAST_3_0, {"3.0", 3}, false, false},
    {2, {"2.0", 3}, false, false},
};

/* --- templates ----------------------------------------------------------------------------- */

static void put_cdata_url(struct str base, const char *event, const char *query, struct buf *out)
{
    /* No ] can be in it but those of [ERRORCODE], and no > at all: the section cannot end early. */
    BUF_PUT_LITERAL(out, "<![CDATA[");
    markup_put_notice_url(base, event, out);
    buf_put_str(out, str_from(query));
    BUF_PUT_LITERAL(out, "]]>");
}

static void put_tracking_events(struct str base, struct buf *out)
{
    static const char *const events[] = {"start", "firstQuartile", "midpoint", "thirdQuartile",
                                         "complete"};
    BUF_PUT_LITERAL(out, "<TrackingEvents>");
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        BUF_PUT_LITERAL(out, "<Tracking event=\"");
        buf_put_str(out, str_from(events[i]));
        BUF_PUT_LITERAL(out, "\">");
        put_cdata_url(base, events[i], "", out);
        BUF_PUT_LITERAL(out, "</Tracking>");
    }
    BUF_PUT_LITERAL(out, "</TrackingEvents>");
}

static void put_clicks(struct str base, struct buf *out)
{
    BUF_PUT_LITERAL(out, "<VideoClicks><ClickThrough>");
    put_cdata_url(base, "click", "", out);
    BUF_PUT_LITERAL(out, "</ClickThrough></VideoClicks>");
}

static void put_linear(struct str base, bool four, struct buf *out)
{
    BUF_PUT_LITERAL(out, "<Linear>");
    if (four) {
        put_tracking_events(base, out);
        BUF_PUT_LITERAL(out, DURATION);
        BUF_PUT_LITERAL(out, MEDIA_FILES);
        put_clicks(base, out);
    } else {
        BUF_PUT_LITERAL(out, DURATION);
        put_tracking_events(base, out);
        put_clicks(base, out);
        BUF_PUT_LITERAL(out, MEDIA_FILES);
    }
    BUF_PUT_LITERAL(out, "</Linear>");
}

static void put_creative(struct str base, const struct vast_version *version, struct buf *out)
{
    BUF_PUT_LITERAL(out, "<Creatives><Creative id=\"" MARK_CREATIVE_ID);
    buf_put_str(out, version->four ? STR("\" adId=\"") : STR("\" AdID=\""));
    BUF_PUT_LITERAL(out, MARK_AD_ID "\">");
    put_linear(base, version->four, out);
    if (version->four) {
        BUF_PUT_LITERAL(out, "<UniversalAdId idRegistry=\"unknown\"");
        if (!version->serving_id) { /* 4.0 wants the id in an attribute too */
            BUF_PUT_LITERAL(out, " idValue=\"" MARK_AD_ID "\"");
        }
        BUF_PUT_LITERAL(out, ">" MARK_AD_ID "</UniversalAdId>");
    }
    BUF_PUT_LITERAL(out, "</Creative></Creatives>");
}

static void put_title(struct buf *out)
{
    BUF_PUT_LITERAL(out, "<AdTitle>" MARK_CREATIVE_ID "</AdTitle>");
}

void markup_put_vast_template(struct str base, unsigned index, bool audio, struct buf *out)
{
    const struct vast_version *version = &versions[index];
    BUF_PUT_LITERAL(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><VAST version=\"");
    buf_put_str(out, version->text);
    buf_put_char(out, '"');
    if (version->four) {
        BUF_PUT_LITERAL(out, " xmlns=\"http://www.iab.com/VAST\"");
    }
    BUF_PUT_LITERAL(out, "><Ad id=\"" MARK_BID_ID "\"");
    if (version->serving_id) {
        buf_put_str(out, audio ? STR(" adType=\"audio\"") : STR(" adType=\"video\""));
    }
    BUF_PUT_LITERAL(out, "><InLine><AdSystem version=\"1.0\">Jointcap</AdSystem>");
    if (!version->four) {
        put_title(out);
    }
    BUF_PUT_LITERAL(out, "<Error>");
    put_cdata_url(base, "error", "?code=[ERRORCODE]", out);
    BUF_PUT_LITERAL(out, "</Error><Impression id=\"" MARK_BID_ID "\">");
    put_cdata_url(base, "impression", "", out);
    BUF_PUT_LITERAL(out, "</Impression>");
    if (version->serving_id) {
        BUF_PUT_LITERAL(out, "<AdServingId>" MARK_BID_ID "</AdServingId>");
    }
    if (version->four) {
        put_title(out);
        BUF_PUT_LITERAL(out, MARK_ADVERTISER_OPEN MARK_ADVERTISER MARK_ADVERTISER_CLOSE);
    }
    put_creative(base, version, out);
    BUF_PUT_LITERAL(out, "</InLine></Ad></VAST>");
}

/* --- a creative's -------------------------------------------------------------------------- */

static void put_two_digits(int32_t value, struct buf *out)
{
    if (value < 10) {
        buf_put_char(out, '0');
    }
    buf_put_i64(out, value);
}

struct str markup_duration(struct markup_work *work, int32_t duration_s)
{
    int32_t s = duration_s > 0 ? duration_s : 0;
    struct buf out = markup_fixed_buf(work, STR_I64_BYTES);
    put_two_digits(s / 3600, &out);
    buf_put_char(&out, ':');
    put_two_digits(s / 60 % 60, &out);
    buf_put_char(&out, ':');
    put_two_digits(s % 60, &out);
    return buf_str(&out);
}

#define MEDIA_FILE_BYTES 176 /* without its texts: 139, and three numbers */

struct str markup_media_file(struct markup_work *work, const struct markup_media *media)
{
    struct markup_work plain = {.input = work->input, .form = MARKUP_PLAIN};
    struct str mime = markup_xml_value(&plain, media->mime);
    struct str url = markup_url_value(&plain, media->url);
    struct buf out = markup_fixed_buf(&plain, MEDIA_FILE_BYTES + mime.len + url.len);
    buf_put_str(&out, select_mime_is_streaming(media->mime)
                          ? STR("<MediaFile delivery=\"streaming\" type=\"")
                          : STR("<MediaFile delivery=\"progressive\" type=\""));
    buf_put_str(&out, mime);
    BUF_PUT_LITERAL(&out, "\" width=\"");
    buf_put_i64(&out, media->w);
    BUF_PUT_LITERAL(&out, "\" height=\"");
    buf_put_i64(&out, media->h);
    buf_put_char(&out, '"');
    if (media->bitrate_kbps > 0) {
        BUF_PUT_LITERAL(&out, " bitrate=\"");
        buf_put_i64(&out, media->bitrate_kbps);
        buf_put_char(&out, '"');
    }
    if (!media->audio) {
        BUF_PUT_LITERAL(&out, " scalable=\"true\" maintainAspectRatio=\"true\"");
    }
    BUF_PUT_LITERAL(&out, "><![CDATA[");
    buf_put_str(&out, url);
    BUF_PUT_LITERAL(&out, "]]></MediaFile>");
    work->failed |= plain.failed;
    BUG_ON(!plain.failed && buf_failed(&out));
    return markup_form_value(work, buf_str(&out));
}

/* --- a bid's ------------------------------------------------------------------------------- */

int32_t markup_vast_protocol(const struct int_list *protocols, bool vast_3)
{
    uint32_t listed = 0; /* bit p for each protocol p */
    for (uint32_t i = 0; i < protocols->count; i++) {
        int32_t protocol = protocols->items[i];
        listed |= protocol >= 0 && protocol < 32 ? 1u << protocol : 0;
    }
    if (vast_3 && (protocols->count == 0 || listed & 1u << VAST_3_0)) {
        return VAST_3_0;
    }
    for (size_t i = 0; i < COUNT_OF(versions); i++) { /* the newest first */
        if (protocols->count == 0 || listed & 1u << versions[i].protocol) {
            return versions[i].protocol;
        }
    }
    return 0;
}

/* Select never offers an impression that lists no version we make; must-fill may, and 3.0 will do.
 */
static unsigned version_of(int32_t protocol)
{
    protocol = protocol ? protocol : VAST_3_0;
    for (unsigned i = 0; i < VAST_VERSION_COUNT; i++) {
        if (versions[i].protocol == protocol) {
            return i;
        }
    }
    BUG_ON(true);
}

const struct markup_template *markup_vast(struct markup_work *work, int32_t protocol, bool audio)
{
    const struct markup_input *input = work->input;
    const struct creative_markup *creative = input->creative->markup;
    BUG_ON(!creative);
    struct str *values = work->values;
    values[HOLE_BID_ID] = markup_xml_value(work, input->bid_id);
    values[HOLE_CREATIVE_ID] = creative->id[work->form];
    values[HOLE_AD_ID] = creative->ad_id[work->form];
    if (input->advertiser_domain.len) {
        values[HOLE_ADVERTISER_OPEN] = STR("<Advertiser>");
        values[HOLE_ADVERTISER] = markup_xml_value(work, input->advertiser_domain);
        values[HOLE_ADVERTISER_CLOSE] = STR("</Advertiser>");
    }
    return &input->templates->vast[version_of(protocol)][audio][work->form];
}

struct bid_text markup_make_vast(struct markup_work *work)
{
    static const struct int_list nothing = {0};
    const struct catalog_creative *creative = work->input->creative;
    bool audio = creative->type == CREATIVE_AUDIO;
    const struct bidreq_av *av = audio ? work->input->imp->audio : work->input->imp->video;
    int32_t protocol = markup_vast_protocol(av ? &av->protocols : &nothing, work->input->vast_3);
    const struct markup_template *template = markup_vast(work, protocol, audio);
    work->values[HOLE_DURATION] = creative->markup->duration;
    work->values[HOLE_MEDIA] = creative->markup->media[work->form];
    return markup_fill(work, template);
}
