/* VAST InLine documents, versions 2.0, 3.0 and 4.0 to 4.2. Pure: appends to a buffer.
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

struct vast_version {
    int32_t protocol;
    struct str text;
    bool four;       /* the order of 4.x, UniversalAdId */
    bool serving_id; /* AdServingId and adType came with 4.1 */
};

static const struct vast_version *version_of(int32_t protocol)
{
    static const struct vast_version versions[] = {
        {13, {"4.2", 3}, true, true},  {11, {"4.1", 3}, true, true},  {7, {"4.0", 3}, true, false},
        {3, {"3.0", 3}, false, false}, {2, {"2.0", 3}, false, false},
    };
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        if (versions[i].protocol == protocol) {
            return &versions[i];
        }
    }
    BUG_ON(true);
}

static void put_cdata_url(struct buf *out, const struct markup_urls *urls, const char *event,
                          const char *query)
{
    /* No ] can be in it but those of [ERRORCODE], and no > at all: the section cannot end early. */
    BUF_PUT_LITERAL(out, "<![CDATA[");
    markup_put_client_url(urls, event, out);
    buf_put_str(out, str_from(query));
    BUF_PUT_LITERAL(out, "]]>");
}

static void put_tracking_events(const struct markup_input *input, struct buf *out)
{
    static const char *const events[] = {"start", "firstQuartile", "midpoint", "thirdQuartile",
                                         "complete"};
    BUF_PUT_LITERAL(out, "<TrackingEvents>");
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        BUF_PUT_LITERAL(out, "<Tracking event=\"");
        buf_put_str(out, str_from(events[i]));
        BUF_PUT_LITERAL(out, "\">");
        put_cdata_url(out, &input->urls, events[i], "");
        BUF_PUT_LITERAL(out, "</Tracking>");
    }
    BUF_PUT_LITERAL(out, "</TrackingEvents>");
}

static void put_two_digits(int32_t value, struct buf *out)
{
    if (value < 10) {
        buf_put_char(out, '0');
    }
    buf_put_i64(out, value);
}

static void put_duration(int32_t duration_s, struct buf *out)
{
    int32_t s = duration_s > 0 ? duration_s : 0;
    BUF_PUT_LITERAL(out, "<Duration>");
    put_two_digits(s / 3600, out);
    buf_put_char(out, ':');
    put_two_digits(s / 60 % 60, out);
    buf_put_char(out, ':');
    put_two_digits(s % 60, out);
    BUF_PUT_LITERAL(out, "</Duration>");
}

static void put_clicks(const struct markup_input *input, struct buf *out)
{
    BUF_PUT_LITERAL(out, "<VideoClicks><ClickThrough>");
    put_cdata_url(out, &input->urls, "click", "");
    BUF_PUT_LITERAL(out, "</ClickThrough></VideoClicks>");
}

static void put_media_files(const struct markup_media *media, struct buf *out)
{
    buf_put_str(out, select_mime_is_streaming(media->mime)
                         ? STR("<MediaFiles><MediaFile delivery=\"streaming\" type=\"")
                         : STR("<MediaFiles><MediaFile delivery=\"progressive\" type=\""));
    markup_put_xml_escaped(out, media->mime);
    BUF_PUT_LITERAL(out, "\" width=\"");
    buf_put_i64(out, media->w);
    BUF_PUT_LITERAL(out, "\" height=\"");
    buf_put_i64(out, media->h);
    buf_put_char(out, '"');
    if (media->bitrate_kbps > 0) {
        BUF_PUT_LITERAL(out, " bitrate=\"");
        buf_put_i64(out, media->bitrate_kbps);
        buf_put_char(out, '"');
    }
    if (!media->audio) {
        BUF_PUT_LITERAL(out, " scalable=\"true\" maintainAspectRatio=\"true\"");
    }
    BUF_PUT_LITERAL(out, "><![CDATA[");
    markup_put_url(out, media->url);
    BUF_PUT_LITERAL(out, "]]></MediaFile></MediaFiles>");
}

static void put_linear(const struct markup_input *input, const struct markup_media *media,
                       const struct vast_version *version, struct buf *out)
{
    BUF_PUT_LITERAL(out, "<Linear>");
    if (version->four) {
        put_tracking_events(input, out);
        put_duration(media->duration_s, out);
        put_media_files(media, out);
        put_clicks(input, out);
    } else {
        put_duration(media->duration_s, out);
        put_tracking_events(input, out);
        put_clicks(input, out);
        put_media_files(media, out);
    }
    BUF_PUT_LITERAL(out, "</Linear>");
}

static void put_creative(const struct markup_input *input, const struct markup_media *media,
                         const struct vast_version *version, struct buf *out)
{
    struct str ad_id = input->creative->adid.len ? input->creative->adid : input->creative->id;
    BUF_PUT_LITERAL(out, "<Creatives><Creative id=\"");
    markup_put_xml_escaped(out, input->creative->id);
    buf_put_str(out, version->four ? STR("\" adId=\"") : STR("\" AdID=\""));
    markup_put_xml_escaped(out, ad_id);
    BUF_PUT_LITERAL(out, "\">");
    put_linear(input, media, version, out);
    if (version->four) {
        /* 4.0 wants the id in an attribute too. */
        BUF_PUT_LITERAL(out, "<UniversalAdId idRegistry=\"unknown\"");
        if (!version->serving_id) {
            BUF_PUT_LITERAL(out, " idValue=\"");
            markup_put_xml_escaped(out, ad_id);
            buf_put_char(out, '"');
        }
        buf_put_char(out, '>');
        markup_put_xml_escaped(out, ad_id);
        BUF_PUT_LITERAL(out, "</UniversalAdId>");
    }
    BUF_PUT_LITERAL(out, "</Creative></Creatives>");
}

static void put_title(const struct markup_input *input, struct buf *out)
{
    BUF_PUT_LITERAL(out, "<AdTitle>");
    markup_put_xml_escaped(out, input->creative->id);
    BUF_PUT_LITERAL(out, "</AdTitle>");
}

void markup_put_vast_media(const struct markup_input *input, const struct markup_media *media,
                           struct buf *out)
{
    const struct vast_version *version = version_of(media->protocol);
    BUF_PUT_LITERAL(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><VAST version=\"");
    buf_put_str(out, version->text);
    buf_put_char(out, '"');
    if (version->four) {
        BUF_PUT_LITERAL(out, " xmlns=\"http://www.iab.com/VAST\"");
    }
    BUF_PUT_LITERAL(out, "><Ad id=\"");
    markup_put_xml_escaped(out, input->bid_id);
    buf_put_char(out, '"');
    if (version->serving_id) {
        buf_put_str(out, media->audio ? STR(" adType=\"audio\"") : STR(" adType=\"video\""));
    }
    BUF_PUT_LITERAL(out, "><InLine><AdSystem version=\"1.0\">Jointcap</AdSystem>");
    if (!version->four) {
        put_title(input, out);
    }
    BUF_PUT_LITERAL(out, "<Error>");
    put_cdata_url(out, &input->urls, "error", "?code=[ERRORCODE]");
    BUF_PUT_LITERAL(out, "</Error><Impression id=\"");
    markup_put_xml_escaped(out, input->bid_id);
    BUF_PUT_LITERAL(out, "\">");
    put_cdata_url(out, &input->urls, "impression", "");
    BUF_PUT_LITERAL(out, "</Impression>");
    if (version->serving_id) {
        BUF_PUT_LITERAL(out, "<AdServingId>");
        markup_put_xml_escaped(out, input->bid_id);
        BUF_PUT_LITERAL(out, "</AdServingId>");
    }
    if (version->four) {
        put_title(input, out);
    }
    if (version->four && input->advertiser_domain.len) {
        BUF_PUT_LITERAL(out, "<Advertiser>");
        markup_put_xml_escaped(out, input->advertiser_domain);
        BUF_PUT_LITERAL(out, "</Advertiser>");
    }
    put_creative(input, media, version, out);
    BUF_PUT_LITERAL(out, "</InLine></Ad></VAST>");
}

void markup_put_vast(const struct markup_input *input, struct buf *out)
{
    static const struct int_list nothing = {0};
    const struct catalog_creative *creative = input->creative;
    bool audio = creative->type == CREATIVE_AUDIO;
    const struct bidreq_av *av = audio ? input->imp->audio : input->imp->video;
    struct markup_media media = {
        .url = creative->url,
        .mime = creative->mime,
        .w = audio ? 0 : creative->w,
        .h = audio ? 0 : creative->h,
        .duration_s = creative->duration_s,
        .bitrate_kbps = creative->bitrate_kbps,
        .protocol = markup_vast_protocol(av ? &av->protocols : &nothing, input->vast_3),
        .audio = audio,
    };
    if (media.protocol == 0) { /* select never offers these; must-fill may: the oldest will do */
        media.protocol = 3;
    }
    markup_put_vast_media(input, &media, out);
}
